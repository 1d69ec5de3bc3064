"""The office in Portuguese, in a browser: nothing of it is English, and nothing that scripts write either."""

from __future__ import annotations

import re

from django.urls import reverse
from playwright.sync_api import expect

from analytics.models import Alert
from billing.models import BillingEvent, Wallet
from conversations.models import Conversation
from llm.models import LLM
from tests.admin.rows import make_workplace, newest
from tests.browser.browsing import Page, address
from workspaces.models import User, Workspace

ENGLISH = re.compile(
    r"\b(the|of|and|is|are|was|this|that|with|from|last|none|search|select|save|add|change|delete|history|loading)\b",
    re.IGNORECASE,
)
"""Words that no page in Portuguese has, and hardly a sentence in English lacks."""
WRITTEN = re.compile("nobody may read in a list|Two is more than one")
"""What the tests store is in English: questions, answers, and what an alert explains."""
TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement, textContent } = walker.currentNode;
    // Icons are words in a font.
    if (parentElement.closest("script, style, .material-symbols-outlined, .office-json")) continue;
    if (parentElement.checkVisibility()) found.push(textContent.trim());
  }
  return found;
}"""


def in_portuguese(page: Page) -> Page:
    page.open("/admin/")
    page.raw.get_by_role("button", name="Root").click()
    page.raw.get_by_role("button", name="Português (Brasil)").click()
    return page.settled()


def english_on(page: Page) -> list[str]:
    return sorted({text for text in page.raw.evaluate(TEXTS) if ENGLISH.search(text) and not WRITTEN.search(text)})


def test_the_main_pages_are_all_in_portuguese(page: Page) -> None:
    owner = make_workplace(1)
    in_portuguese(page)
    wallet = Wallet.objects.get(workspace_id=owner.workspace.pk)
    places = {
        "front": "/admin/",
        "models": address(LLM, "changelist"),
        "model": address(LLM, "change", LLM.objects.get().pk),
        "new-price": reverse("admin:llm_llm_new_price", args=[LLM.objects.get().pk]),
        "wallets": address(Wallet, "changelist"),
        "wallet": address(Wallet, "change", wallet.pk),
        "top-up": reverse("admin:billing_wallet_top_up", args=[wallet.pk]),
        "ledger": address(BillingEvent, "changelist"),
        "workspace": address(Workspace, "change", owner.workspace.pk),
        "transcript": reverse("admin:conversations_conversation_transcript", args=[newest(Conversation).pk]),
        "alert": address(Alert, "change", newest(Alert).pk),
        "person": address(User, "change", owner.user.pk),
        "usage-report": reverse("office_usage_report"),
        "statements": reverse("office_statement", args=[owner.workspace.pk]),
    }
    for name, path in places.items():
        page.open(path).axe().shot(f"portuguese-{name}")
        expect(page.raw.locator("html")).to_have_attribute("lang", "pt-br")
        assert english_on(page) == [], name


def test_a_wallet_is_topped_up_with_a_comma(page: Page) -> None:
    owner = make_workplace(1)
    wallet = Wallet.objects.get(workspace_id=owner.workspace.pk)
    in_portuguese(page).open(reverse("admin:billing_wallet_top_up", args=[wallet.pk]))
    page.raw.get_by_label("Valor, em dólares").fill("1.500,50")
    page.raw.get_by_label("Motivo").fill("Transferência")
    page.raw.get_by_role("button", name="Mostrar o que aconteceria").click()
    page.settled().axe().shot("portuguese-top-up-effect")
    expect(page.raw.get_by_text("+US$\u00a01.500,50")).to_be_visible()

    page.raw.get_by_label("Sua senha").fill("correct horse battery")
    page.raw.get_by_role("button", name="Recarregar").click()
    page.settled().axe()

    expect(page.raw.get_by_text("Recarga de US$\u00a01.500,50.")).to_be_visible()
