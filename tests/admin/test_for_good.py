"""Usage, ledger events and prices are for good: nobody edits or deletes them, and the database refuses it as well."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Model

from billing.models import BillingEvent
from conversations.models import UsageLog
from llm.models import LLMPrice
from synapscale.common.tenancy import fleet_wide
from tests.admin.rows import Office, make_workplace, newest
from tests.admin.test_pages import content

pytestmark = pytest.mark.django_db
FOR_GOOD: list[type[Model]] = [BillingEvent, LLMPrice, UsageLog]
models = pytest.mark.parametrize("model", FOR_GOOD, ids=lambda model: model.__name__)


def stored(model: type[Model]) -> list[Any]:
    with fleet_wide():
        return list(model._default_manager.order_by("pk").values())


@models
def test_the_page_has_nothing_to_type_or_press(office: Office, model: type[Model]) -> None:
    make_workplace(1)
    page = office.open(newest(model))

    assert page.status_code == 200
    assert not re.search(r'<(input|select|textarea)[^>]*\bname="(?!csrf)', content(page.text))
    for name in ("_save", "_continue", "_addanother", "_saveasnew"):
        assert f'name="{name}"' not in page.text
    assert "/delete/" not in page.text


@models
def test_a_superuser_can_neither_change_nor_delete_one(office: Office, model: type[Model]) -> None:
    make_workplace(1)
    row, before = newest(model), stored(model)
    typed = {field.name: "9" for field in model._meta.concrete_fields}

    assert office.client.post(office.url(model, "change", row.pk), typed).status_code == 403
    assert office.client.get(office.url(model, "delete", row.pk)).status_code == 403
    assert office.client.post(office.url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert stored(model) == before


@models
def test_the_list_changes_and_deletes_nothing(office: Office, model: type[Model]) -> None:
    make_workplace(1)
    row, before = newest(model), stored(model)
    page = office.list(model)
    change_list = page.context["cl"]

    assert "delete_selected" not in page.text
    assert change_list.list_editable == ()
    assert change_list.formset is None
    done = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes", "select_across": "1"}
    office.client.post(office.url(model, "changelist"), done)
    typed = {"form-0-id": str(row.pk), "form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "_save": "Save"}
    office.client.post(office.url(model, "changelist"), typed)
    assert stored(model) == before


def _update(row: Any) -> Any:
    return type(row)._default_manager.filter(pk=row.pk).update(created_at=row.created_at)


def _delete_all(row: Any) -> Any:
    return type(row)._base_manager.filter(pk=row.pk)._raw_delete("default")


@pytest.mark.fleet
@models
@pytest.mark.parametrize("change", [_update, _delete_all])
def test_the_database_refuses_it_from_code(db: None, model: type[Model], change: Callable[[Any], Any]) -> None:
    make_workplace(1)
    before = stored(model)
    row = newest(model)

    with pytest.raises(IntegrityError, match=r"append-only|written once"), transaction.atomic():
        change(row)
    assert stored(model) == before
