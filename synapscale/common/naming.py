"""What models and their fields are called, in the language of whoever looks.

Most are given no name: Django calls ``llm_price`` “llm price” after its column. Here the same text becomes one that is
translated when it is read. Migrations don't see it, for to them such a field has no name.
"""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.utils.text import camel_case_to_spaces
from django.utils.translation import gettext_lazy

_ABBREVIATIONS = re.compile(r"\b(api|id|llm|url|usd)(s?)\b")
_OUR_PACKAGES = frozenset(name.partition(".")[0] for name in settings.OUR_APPS)


def words(name: str) -> str:
    """``base_url`` as “base URL”."""
    return _ABBREVIATIONS.sub(lambda match: match[1].upper() + match[2], name.replace("_", " "))


def name_of_model(model: type[Any]) -> str:
    return words(camel_case_to_spaces(model.__name__))


def plural_of_model(model: type[Any]) -> str:
    return f"{name_of_model(model)}s"


def is_ours(model: type[Any]) -> bool:
    return model.__module__.partition(".")[0] in _OUR_PACKAGES


def name(sender: type[Any], **kwargs: Any) -> None:
    """Receiver of ``class_prepared``."""
    if not is_ours(sender):
        return
    for field in [*sender._meta.local_fields, *sender._meta.local_many_to_many]:
        if field._verbose_name is None:
            field.verbose_name = gettext_lazy(words(field.name))
    options, given = sender._meta, sender._meta.original_attrs
    if "verbose_name" not in given:
        options.verbose_name = gettext_lazy(name_of_model(sender))
    if "verbose_name_plural" not in given:
        options.verbose_name_plural = gettext_lazy(plural_of_model(sender))


def texts() -> set[str]:
    """All names that models and fields have by themselves, in English."""
    from django.apps import apps

    found = set()
    for model in filter(is_ours, apps.get_models()):
        fields: list[Any] = [*model._meta.local_fields, *model._meta.local_many_to_many]
        found |= {words(field.name) for field in fields if field._verbose_name is None}
        given = model._meta.original_attrs
        if "verbose_name" not in given:
            found.add(name_of_model(model))
        if "verbose_name_plural" not in given:
            found.add(plural_of_model(model))
    return found
