"""Whatever people write is text on every page that shows it: nothing of it runs, is fetched, hides or reorders a page."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import Model

from analytics.models import Alert, AlertRule, Report
from billing.models import BillingEvent, Wallet
from conversations.models import Agent, Conversation, ConversationLLM, Message, MessageFeedback, UsageLog
from llm.models import ProviderConnection
from synapscale.common.tenancy import fleet_wide
from tagging.models import Tag, TagLink, TagRule
from tests.admin.hostile import HIDDEN, SHOWN, make_hostile, pages_of_no_row
from tests.admin.talks import url_of
from tests.browser.browsing import DESKTOP, PHONE, Page
from workspaces.models import AccessToken, Membership, User, UserVariable, Workspace

READ = """() => {
  const skipped = "script, style, textarea, option, noscript";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let text = "";
  while (walker.nextNode()) {
    if (!walker.currentNode.parentElement.closest(skipped)) text += walker.currentNode.data;
  }
  return text;
}"""
"""All text of a page, folded or not, but for what is in the boxes of a form."""

WIDE = """() => [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > window.innerWidth + 1 && !one.closest("[class*=overflow]"))
  .slice(-6).map((one) => one.outerHTML.slice(0, 200))"""
"""What sticks out."""

PAGES = {
    "what was said": (Conversation, Message),
    "what was used": (UsageLog, ConversationLLM, BillingEvent, Wallet),
    "what was thought": (MessageFeedback, Tag, TagRule, TagLink),
    "who": (Workspace, User, Membership, AccessToken, UserVariable, Agent),
    "what is watched": (Alert, AlertRule, Report, ProviderConnection),
}


def judge(page: Page) -> str:
    """What is read on the page, which does no more than show it."""
    where = page.raw.url
    assert page.raw.evaluate("window.pwned") is None, where
    assert page.raw.locator("img[src=x], svg[onload], iframe, [x-init*=pwned]").count() == 0, where
    for size in (PHONE, DESKTOP):
        page.raw.set_viewport_size(size)  # type: ignore[arg-type]
        for _ in range(20):  # charts are drawn again
            if not page.is_wider_than_the_screen():
                break
            page.raw.wait_for_timeout(100)
        assert not page.is_wider_than_the_screen(), (where, size, page.raw.evaluate(WIDE))
    text: str = page.raw.evaluate(READ)
    assert not [hex(ord(sign)) for sign in HIDDEN if sign in text and not sign.isprintable()], where
    return text


@pytest.mark.parametrize("models", PAGES.values(), ids=PAGES)
def test_pages_of_rows_show_it_as_text(page: Page, models: tuple[type[Model], ...]) -> None:
    make_hostile()
    page.raw.on("dialog", lambda dialog: page.problems.append(f"a dialog: {dialog.message}"))
    found = 0
    for model in models:
        judge(page.list(model))
        with fleet_wide():
            rows = list(model._default_manager.all()[:6])
        for row in rows:
            found += SHOWN in judge(page.change(row))
    assert found


def test_a_transcript_shows_it_as_text(page: Page) -> None:
    talk = make_hostile()
    page.raw.on("dialog", lambda dialog: page.problems.append(f"a dialog: {dialog.message}"))
    page.open(url_of(talk.conversation))
    text = judge(page.axe().shot("transcript-hostile"))

    # Title, tag, agent, workspace; questions, answers, arguments, results, errors, feedback and suggestions.
    assert text.count(SHOWN) > 12
    for said in ("<script>window.pwned=1</script>", "{{ 7|add:7 }} {% debug %} ${7*7}", "&lt;b&gt; &amp;"):
        assert said in text
    if connection.vendor == "sqlite":
        assert "before[U+0000]after" in text
    page.raw.locator("summary").evaluate_all("all => all.forEach((one) => one.click())")
    judge(page.axe())
    page.on_a_phone().shot("transcript-hostile-phone")


def test_pages_of_no_row_show_it_as_text(page: Page) -> None:
    for path in pages_of_no_row(make_hostile()):
        judge(page.open(path))
