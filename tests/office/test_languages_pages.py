"""No page of the back office has a text that can't be translated: each is looked at in a language made of brackets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse
from django.utils.translation import trans_real

from analytics.alerting import conditions
from tests.admin.rows import make_workplace, our_models
from tests.office.bracketed import CODE, Bracketed, Judge, keys_for
from workspaces.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.fleet]

WORDS = {
    "SynapScale": "the product's name",
    "UTC": "the clock",
    "US$": "the currency",
    "English en": "languages are written in themselves",
    "Português (Brasil) pt-br": "languages are written in themselves",
    "Ctrl": "a key",
    "esc": "a key",
    "sk-syn": "what tokens begin with",
    "md5": "how the tests hash passwords",
    "de": "in dates, by their format",
    "às": "in dates, by their format",
}
NAMES = {f"({condition.key})" for condition in conditions.all_conditions()}
"""What programs call conditions of alerts; it stands behind their names."""
NO_PAGES = {
    "autocomplete": "answers scripts",
    "jsi18n": "answers scripts",
    "login": "is for those who are not signed in",
    "logout": "is posted to",
    "view_on_site": "leads to no page of ours",
    "office_live": "answers scripts",
}


LEAD_ELSEWHERE = {
    "conversations_message_read_transcript": "to the conversation",
    "conversations_messagefeedback_read_transcript": "to the conversation",
    "conversations_usagelog_read_transcript": "to the conversation",
    "llm_llm_activate_one": "back: the only model is active",
    "llm_priceproposal_look": "is posted to",
    "tagging_taglink_accept": "is posted to",
    "tagging_taglink_reject": "is posted to",
}


@pytest.fixture
def bracketed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A superuser who reads everything in brackets."""
    make_workplace(1)
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org", "correct horse battery", name="Root"))
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = CODE
    monkeypatch.setitem(trans_real._translations, CODE, Bracketed())  # type: ignore[attr-defined]
    return client


def models_of_vendors() -> set[str]:
    """What the list of vendors' prices calls them."""
    from genai_prices.data import providers

    return {text for provider in providers for model in provider.models for text in (model.id, model.name) if text}


def _patterns(patterns: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns)
        else:
            yield pattern


def _model_of(name: str) -> type[Model] | None:
    if name == "auth_user_password_change":
        return User
    found = [model for model in our_models() if name.startswith(f"{model._meta.app_label}_{model._meta.model_name}_")]
    return max(found, key=lambda model: len(model._meta.model_name or ""), default=None)


def addresses() -> dict[str, list[str]]:
    """Every page of the admin, by name, with the addresses to try: one without a row, or those of rows there are."""
    found: dict[str, list[str]] = {}
    for pattern in _patterns(admin.site.urls[0]):
        name = pattern.name or ""
        if not name or name in NO_PAGES:
            continue
        arguments = list(pattern.pattern.regex.groupindex) or list(pattern.pattern.converters)
        if arguments == ["app_label"]:
            labels = sorted({model._meta.app_label for model in our_models()})
            found[name] = [reverse(f"admin:{name}", args=[label]) for label in labels]
        elif arguments:
            model = _model_of(name)
            assert model is not None, f"{name} takes {arguments}: say here what to give it"
            found[name] = [reverse(f"admin:{name}", args=[key]) for key in keys_for(model)]
        else:
            found[name] = [reverse(f"admin:{name}")]
    return found


def test_every_page_is_translated_to_the_last_word(bracketed: Client) -> None:
    pages: dict[str, str] = {}
    unseen: list[str] = []
    for name, urls in addresses().items():
        for url in urls:
            response = bracketed.get(url)
            if response.status_code == 200:
                if response["Content-Type"].startswith("text/html"):
                    pages[name] = response.text
                break
        else:
            if response.status_code != 403 or not name.endswith(("_add", "_delete")):  # which some models have not
                unseen.append(name)
    judge = Judge({*WORDS, *models_of_vendors(), *NAMES})  # only now: pages note who reads them
    assert [f"{name}: {text}" for name, page in pages.items() for text in sorted(judge.untranslated(page))] == []
    assert set(unseen) == set(LEAD_ELSEWHERE)


def test_the_pages_of_those_who_are_not_signed_in_are_translated(bracketed: Client) -> None:
    judge = Judge(WORDS)
    bracketed.logout()
    bracketed.cookies[settings.LANGUAGE_COOKIE_NAME] = CODE
    login = reverse("admin:login")

    assert judge.untranslated(bracketed.get(login).text) == set()
    wrong = bracketed.post(login, {"username": "root@example.org", "password": "wrong"})
    assert "⟦" in wrong.text
    assert judge.untranslated(wrong.text) == set()


def test_what_stands_in_no_brackets_is_found(bracketed: Client) -> None:
    page = """
        <title>⟦Wallets⟧ | SynapScale</title>
        <p>⟦Wallet of ⟦work⟧ <b>works-1</b>⟧: Balance</p>
        <p>⟦Read <a href="/">this ⟧</a></p>
        <input placeholder="Search" aria-label="⟦Search⟧"><span class="material-symbols-outlined">search</span>
        <td>works-1 12,50 0198c0de-0000-7000-8000-000000000000</td>
        <script type="application/json">{"label": "Spend", "values": ["1.5"]}</script><script>var hidden</script>
    """

    assert Judge(WORDS).untranslated(page) == {"⟦Wallet of ⟦work⟧ works-1⟧: Balance", "Search", "Spend"}
