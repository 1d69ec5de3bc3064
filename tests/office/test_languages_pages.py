"""No page of the back office has a text that can't be translated: each is looked at in a language made of brackets."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import trans_real

from analytics.alerting import conditions, explanations, rules
from analytics.models import Alert, AlertRule
from benchmarks import office_pages
from office.roles import SUPPORT
from tests.admin.rows import make_workplace, our_models
from tests.office.bracketed import CODE, Bracketed, Judge, rows_of
from tests.people import Person
from workspaces.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.fleet]

WORDS = {
    "SynapScale": "the product's name",
    "UTC": "the clock",
    "US$": "the currency",
    "English en": "languages are written in themselves",
    "Português (Brasil) pt-br": "languages are written in themselves",
    "CSV": "a kind of file",
    "PDF": "a kind of file",
    "Ctrl": "a key",
    "esc": "a key",
    "sk-syn": "what tokens begin with",
    "md5": "how the tests hash passwords",
    "de": "in dates, by their format",
    "às": "in dates, by their format",
}
NAMES = {f"({condition.key})" for condition in conditions.all_conditions()}
"""What programs call conditions of alerts; it stands behind their names."""


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
def owner() -> Person:
    """With an alert of a rule that comes with every installation, and somebody in a role."""
    owner = make_workplace(1)
    rules.ensure_builtin()
    now, facts = timezone.now(), {"condition": "error_rate", "subject": {}, "failed": 1, "calls": 3, "seconds": 900}
    facts |= {"value": "0.33", "threshold": "0.05"}
    Alert.objects.create(
        workspace=owner.workspace,
        rule=AlertRule.objects.get(is_builtin=True, condition="error_rate"),
        subject_kind="fleet",
        subject_label="All workspaces",
        severity="critical",
        value="0.33",
        threshold="0.05",
        explanation=explanations.explanation(facts),
        facts=facts,
        fired_at=now,
        last_seen_at=now,
    )
    owner.user.groups.add(Group.objects.get(name=SUPPORT))
    return owner


@pytest.fixture
def bracketed(owner: Person, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A superuser who reads everything in brackets."""
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org", "correct horse battery", name="Root"))
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = CODE
    monkeypatch.setitem(trans_real._translations, CODE, Bracketed())  # type: ignore[attr-defined]
    return client


def models_of_vendors() -> set[str]:
    """What the list of vendors' prices calls them."""
    from genai_prices.data import providers

    return {text for provider in providers for model in provider.models for text in (model.id, model.name) if text}


def addresses(owner: Person) -> dict[str, list[str]]:
    """Every page of the office, by name, with the addresses to try: one, or those of rows there are."""
    rows = {model: rows_of(model) for model in our_models()}
    found: dict[str, list[str]] = {}
    for page in office_pages.pages(lambda model: rows[model], {"workspace_id": [owner.workspace.pk]}):
        found.setdefault(str(page).partition(" (")[0], []).append(page.path)
    found["models of a host"] = [reverse("admin:llm_llm_llama")]
    return found


def test_every_page_is_translated_to_the_last_word(bracketed: Client, owner: Person) -> None:
    pages: dict[str, str] = {}
    unseen: list[str] = []
    for name, urls in addresses(owner).items():
        for url in urls:
            response = bracketed.get(url)
            if response.status_code == 200:
                if response["Content-Type"].startswith("text/html"):
                    pages[name] = response.text
                break
        else:
            if response.status_code != 403 or not name.startswith(("add: ", "delete: ")):  # which some models have not
                unseen.append(name.partition(": ")[2])
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
