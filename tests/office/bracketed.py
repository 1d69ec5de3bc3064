"""A made-up language in which every translated text stands in brackets, and what of a page stands in none."""

from __future__ import annotations

import gettext
import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from html.parser import HTMLParser
from typing import Any

from django.apps import apps
from django.db import models

from office.roles import ROLES
from synapscale.common.tenancy import fleet_wide

CODE = "pt-br"
"""The language whose texts it stands in for; dates and numbers stay as they are there."""


class Bracketed(gettext.NullTranslations):
    """A catalogue that knows every text: ``Save`` is ``⟦Save⟧``."""

    def gettext(self, message: str) -> str:
        text = message.rpartition("\x04")[2]  # what stands before is the context
        if text == "yes,no,maybe":  # three texts in one
            return "⟦yes⟧,⟦no⟧,⟦maybe⟧"
        return f"⟦{text}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)

    def to_language(self) -> str:
        return CODE


# --- What a page shows ----------------------------------------------------------------------------------------------

READ_OUT = ("title", "aria-label", "aria-description", "placeholder", "alt", "label", "data-confirm")
SILENT = {"script", "style", "template", "noscript"}
BLOCKS = {"p", "div", "li", "td", "th", "label", "option", "button", "a", "h1", "h2", "h3", "h4", "legend", "title"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Shown(HTMLParser):
    """The texts that a person finds on a page, data of charts included; one for each block, for a text may hold links."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self._is_json = False
        self._text = ""
        self.feed(html)
        self._end_of_text()

    def _end_of_text(self) -> None:
        if self._text.strip():
            self.texts.append(" ".join(self._text.split()))
        self._text = ""

    @property
    def _is_hidden(self) -> bool:
        return any(hidden for _tag, hidden in self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.texts += [given[name] for name in READ_OUT if given.get(name)]
        if tag in BLOCKS and self._text.count("⟦") == self._text.count("⟧"):
            self._end_of_text()
        if tag == "input" and given.get("type") in {"submit", "button", "reset"}:
            self.texts.append(given.get("value", ""))
        self._is_json = tag == "script" and given.get("type") == "application/json"
        if tag not in VOID:
            is_no_text = re.search("material-symbols|office-json", given.get("class", "")) is not None
            self._open.append((tag, tag in SILENT or is_no_text))

    def handle_endtag(self, tag: str) -> None:
        while any(name == tag for name, _hidden in self._open):
            if self._open.pop()[0] == tag:
                break
        self._is_json = False
        if tag in BLOCKS and (tag != "a" or self._text.count("⟦") == self._text.count("⟧")):
            self._end_of_text()

    def handle_data(self, data: str) -> None:
        if self._is_json:
            self.texts += strings_in(json.loads(data), with_keys=False)
        elif not self._is_hidden:
            self._text += data


def strings_in(value: Any, *, with_keys: bool = True) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if with_keys:
                yield str(key)
            yield from strings_in(inner, with_keys=with_keys)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner, with_keys=with_keys)


def outside_of_brackets(text: str) -> str:
    """What is left when all that is translated is taken out."""
    left, depth = "", 0
    for character in text:
        if character == "⟦":
            depth += 1
        elif character == "⟧" and depth:
            depth -= 1
            left += " "
        elif not depth:
            left += character
    return left


# --- What is data ---------------------------------------------------------------------------------------------------


NOT_GIVEN = {
    "analytics.Alert": ("explanation", "subject_label", "facts"),
    "analytics.AlertDelivery": ("payload", "last_error"),
    "analytics.WebhookEndpoint": ("last_error",),
    "auditlog.LogEntry": ("additional_data", "changes_text"),
}
"""Texts that nobody gave, for we write them ourselves: they are stored in English."""


def is_given(model: type[models.Model], row: dict[str, Any]) -> bool:
    """Whether its name was given by somebody: not of what every installation begins with."""
    if model._meta.label == "auth.Group":
        return row["name"] not in ROLES
    return not (model._meta.label == "analytics.AlertRule" and row["is_builtin"])


def stored_texts() -> set[str]:
    """What the database says: names, titles, contents. Not the values of choices, which have labels, no permissions, and
    nothing that we wrote ourselves.
    """
    found: set[str] = set()
    with fleet_wide():
        for model in apps.get_models():
            if model._meta.app_label in {"contenttypes", "sessions"} or model._meta.label == "auth.Permission":
                continue
            ours = NOT_GIVEN.get(model._meta.label, ())
            columns = [field for field in model._meta.concrete_fields if not field.choices and not field.is_relation]
            names = [field.name for field in columns if field.name not in ours]
            for row in filter(partial(is_given, model), model._default_manager.values(*names)[:1000]):
                for value in row.values():
                    found |= set(strings_in(value if isinstance(value, (str, dict, list)) else ""))
    return {" ".join(text.split()) for text in found if re.search(r"[^\W\d_]{2}", text)}


class Judge:
    """Finds what on a page is neither translated, nor data, nor one of ``words``."""

    def __init__(self, words: Iterable[str]) -> None:
        known = sorted({*stored_texts(), *words}, key=len, reverse=True)
        self._known = re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in known), re.IGNORECASE)

    def untranslated(self, html: str) -> set[str]:
        return {text for text in Shown(html).texts if self._is_foreign(text)}

    def _is_foreign(self, text: str) -> bool:
        left = self._known.sub(" ", outside_of_brackets(text))
        left = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|…[0-9a-f]{12}|https?://\S+|\w+\*{6,}", " ", left)
        return re.search(r"[^\W\d_]{2}", left) is not None


def rows_of(model: type[models.Model]) -> list[tuple[str, models.Model]]:
    """Some rows, newest first: what a page is about is not in each of them."""
    with fleet_wide():
        return [("", row) for row in model._default_manager.order_by("-pk")[:20]]
