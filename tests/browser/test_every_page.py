"""Every page of every model opens clean: no error, nothing that the policy forbids, nothing that keeps anybody out."""

from __future__ import annotations

import pytest
from django.db.models import Model

from tests.admin.rows import make_workplace, newest, our_models
from tests.admin.test_pages import ADDABLE
from tests.browser.browsing import Page

models = pytest.mark.parametrize("model", our_models(), ids=lambda model: model._meta.label)


def judge(page: Page, name: str) -> None:
    page.axe().shot(name)
    page.theme("dark").axe("color-contrast").shot(f"{name}-dark")
    page.theme("light")


@models
def test_its_list_its_row_and_its_form(page: Page, model: type[Model]) -> None:
    make_workplace(1)

    judge(page.list(model), f"{model.__name__}-list")
    judge(page.change(newest(model)), f"{model.__name__}-row")
    if model in ADDABLE or model._meta.app_label == "auth":
        judge(page.add(model), f"{model.__name__}-add")
