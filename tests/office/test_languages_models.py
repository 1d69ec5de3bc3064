"""What the models say of themselves is translated: names, help, choices, permissions, columns, actions, filters, titles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import AppConfig, apps
from django.contrib import admin
from django.contrib.admin.utils import label_for_field
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import RequestFactory
from django.utils import translation

from synapscale.common.naming import is_ours
from synapscale.common.permission_names import permission_text
from tests.admin.rows import our_models
from workspaces.models import User

pytestmark = pytest.mark.django_db

ALIKE = {
    **dict.fromkeys(
        ("OpenAI", "Anthropic", "Google", "xAI Grok", "DeepSeek", "Meta Llama", "Parquet", "SynapScale"), "names"
    ),
    **dict.fromkeys(
        ("CSV", "ID", "LLM", "LLMs", "URL", "slug", "status", "E-mail", "Webhook", "endpoint", "tokens"),
        "words of the trade",
    ),
    **dict.fromkeys(("Individual", "original", "Chat"), "written alike"),
    "Like https://hooks.example.com/alerts.": "an address",
}
"""What is the same in both languages, and why. Compared without regard to capitals."""
_ALIKE = {text.lower() for text in ALIKE}
Said = Iterator[tuple[str, Any]]


def of_the_model(model: type[Model]) -> Said:
    where = model._meta.label
    yield where, model._meta.verbose_name
    yield where, model._meta.verbose_name_plural
    if not admin.site.is_registered(model):
        return  # it is only named where permissions are given
    for field in model._meta.get_fields():
        if not hasattr(field, "verbose_name"):
            continue
        name = f"{where}.{field.name}"
        yield name, field.verbose_name
        yield name, field.help_text  # type: ignore[union-attr]
        for _value, label in field.flatchoices if getattr(field, "choices", None) else ():  # type: ignore[union-attr]
            yield name, label
    for constraint in model._meta.constraints:
        if constraint.violation_error_message != constraint.default_violation_error_message:
            yield f"{where}, {constraint.name}", constraint.violation_error_message


def of_its_pages(model: type[Model]) -> Said:
    model_admin = admin.site.get_model_admin(model)
    where = model._meta.label
    request = RequestFactory().get("/admin/")
    request.user = User(is_active=True, is_staff=True, is_superuser=True)
    yield where, getattr(model_admin, "search_help_text", "")
    for column in model_admin.get_list_display(request):
        if column != "__str__":
            yield f"{where}, column {column}", label_for_field(column, model, model_admin)
    for name, (_function, _name, said) in model_admin.get_actions(request).items():
        yield f"{where}, action {name}", said
    for row in (None, model()):
        for title, options in model_admin.get_fieldsets(request, row):
            yield f"{where}, group of fields", title
            yield f"{where}, {title}", options.get("description")
    for filtered in model_admin.get_list_filter(request):
        if isinstance(filtered, type):
            yield f"{where}, filter", filtered.title  # type: ignore[attr-defined]
    for inline in model_admin.inlines:
        yield f"{where}, {inline.__name__}", inline.verbose_name
        yield f"{where}, {inline.__name__}", inline.verbose_name_plural


def untranslated(said: Said) -> list[str]:
    found = []
    for where, text in said:
        with translation.override("en"):
            english = str(text or "")
        with translation.override("pt-br"):
            portuguese = str(text or "")
        if english.lower() == portuguese.lower() and english and english.lower() not in _ALIKE:
            found.append(f"{where}: {english}")
    return found


@pytest.mark.parametrize("model", [*filter(is_ours, apps.get_models())], ids=lambda model: model._meta.label)
def test_a_model_speaks_both_languages(model: type[Model]) -> None:
    assert untranslated(of_the_model(model)) == []


@pytest.mark.parametrize("model", our_models(), ids=lambda model: model._meta.label)
def test_its_pages_speak_both_languages(model: type[Model]) -> None:
    assert untranslated(of_its_pages(model)) == []


def _with_pages() -> list[AppConfig]:
    labels = {model._meta.app_label for model in our_models()}
    return [config for config in apps.get_app_configs() if config.label in labels]


def test_apps_speak_both_languages() -> None:
    assert untranslated((config.label, config.verbose_name) for config in _with_pages()) == []


def test_permissions_speak_both_languages() -> None:
    found = []
    for permission in Permission.objects.select_related("content_type"):
        with translation.override("en"):
            english = permission_text(permission).rpartition("|")[2]
        with translation.override("pt-br"):
            portuguese = permission_text(permission).rpartition("|")[2]
        if english == portuguese or "Can " in portuguese:
            found.append(english)
    assert found == []
