"""Somebody who may read what customers wrote reads a transcript, and finds that in the audit log; others don't see it."""

from __future__ import annotations

from django.contrib.auth.models import Group
from playwright.sync_api import expect

from tests.admin.talks import WRITTEN, make_talk, readings
from tests.browser.browsing import Page
from tests.browser.conftest import PageOf
from tests.people import make_cast
from workspaces.models import User


def somebody_of(role: str) -> User:
    user = User.objects.create_user(f"{role.lower()}@example.org", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def test_a_transcript_is_read_and_the_reading_found_in_the_audit_log(page: Page, page_of: PageOf) -> None:
    talk = make_talk(make_cast().alice)
    helper = page_of(somebody_of("Support")).change(talk.answer)
    helper.raw.get_by_role("link", name="Read transcript").click()
    helper.settled()

    # At the message, with everything beside it.
    here = helper.raw.locator(f"[id='message-{talk.answer.pk}']")
    expect(here).to_be_in_viewport()
    expect(here).to_contain_text(WRITTEN["answer"])
    expect(here).to_contain_text("openai/openai-second")
    helper.raw.get_by_role("link", name="First messages").click()
    helper.settled().axe().shot("transcript")
    helper.theme("dark").axe("color-contrast").shot("transcript-dark")
    helper.on_a_phone().shot("transcript-phone")
    assert not helper.is_wider_than_the_screen()

    assert len(readings()) == 3  # the message's page, and two of the transcript
    page.open(f"/admin/auditlog/logentry/?q={talk.conversation.pk}").axe().shot("transcript-in-the-audit-log")
    rows = page.raw.locator("#result_list tbody")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("support@example.org")
    expect(rows.first).to_contain_text("Read what was written.")


def test_a_long_answer_is_unfolded(page: Page) -> None:
    talk = make_talk(make_cast().alice, {"answer": "beginning " + "more " * 1000 + "the-very-end"})
    page.change(talk.conversation)
    page.raw.get_by_role("link", name="Read transcript").click()
    page.settled()
    end = page.raw.get_by_text("the-very-end")

    expect(end).to_be_hidden()
    page.raw.get_by_text("Show all 5,022 characters").click()
    expect(end).to_be_visible()
    page.axe().shot("transcript-unfolded")
    page.raw.get_by_text("Fold", exact=True).click()
    expect(end).to_be_hidden()


def test_a_role_without_the_permission_sees_none_of_it(page_of: PageOf) -> None:
    talk = make_talk(make_cast().alice)
    page = page_of(somebody_of("Operator")).change(talk.conversation)

    expect(page.raw.get_by_role("link", name="Read transcript")).to_have_count(0)
    expect(page.raw.get_by_text("hidden: needs the permission to read content")).to_have_count(3)
    assert WRITTEN["title"] not in page.raw.content()
    page.axe().shot("conversation-hidden")
    assert readings() == []
