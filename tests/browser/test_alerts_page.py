"""An operator is told of an alert, looks after it, and keeps its rule quiet for a while; and decides about tags."""

from __future__ import annotations

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from analytics.models import Alert, AlertRule
from tagging.models import TagLink
from tests import full
from tests.admin.rows import again, make_workplace
from tests.analytics.alerting import fire
from tests.browser.browsing import Page
from tests.people import make_cast


@pytest.fixture
def alert(transactional_db: None) -> Alert:
    cast, now = make_cast(), timezone.now()
    made = full.alert(cast.alice)
    Alert.objects.filter(workspace=made.workspace).update(state="firing", acknowledged_at=None, acknowledged_by=None)
    fire(cast.charlie.workspace, made.rule, subject_label="Rival", state="resolved", resolved_at=now)
    looked_after = {"state": "acknowledged", "acknowledged_at": now, "acknowledged_by": cast.bob.user}
    fire(cast.bob.workspace, made.rule, subject_label="Acme", severity="critical", **looked_after)
    return again(made)


def test_an_alert_is_looked_after(page: Page, alert: Alert) -> None:
    page.list(Alert).axe().shot("alerts")
    page.theme("dark").axe("color-contrast").shot("alerts-dark")
    page.theme("light").change(alert).axe().shot("alert")
    expect(page.raw.get_by_text("Two is more than one.").first).to_be_visible()
    page.theme("dark").axe().shot("alert-dark")
    page.theme("light").on_a_phone().change(alert).axe().shot("alert-phone")
    assert not page.is_wider_than_the_screen()
    page.raw.set_viewport_size({"width": 1440, "height": 900})
    page.raw.get_by_role("link", name="Acknowledge").click()
    page.settled().axe().shot("alert-acknowledge")
    page.raw.get_by_label("Note").fill("The provider has an outage")
    page.raw.get_by_role("button", name="Show what it would do").click()
    page.settled().axe()
    page.raw.get_by_role("button", name="Acknowledge").dblclick()
    page.settled().axe().shot("alert-acknowledged")
    expect(page.raw.get_by_text("The provider has an outage")).to_be_visible()
    assert again(alert).state == "acknowledged"


def test_its_rule_is_silenced_and_tried(page: Page, alert: Alert) -> None:
    rule = AlertRule.objects.get()
    page.list(AlertRule).axe().shot("alert-rules")
    page.change(rule).axe().shot("alert-rule")
    page.raw.get_by_role("link", name="Silence", exact=True).click()
    page.settled().axe().shot("alert-rule-silence")
    page.raw.get_by_label("For how long").select_option("8")
    page.raw.get_by_label("Reason").fill("A planned launch")
    page.raw.get_by_role("button", name="Show what it would do").click()
    page.settled().axe().shot("alert-rule-silence-effect")
    page.raw.get_by_role("button", name="Silence").click()
    page.settled().axe().shot("alert-rule-silenced")
    assert again(rule).silenced_until is not None
    page.raw.get_by_role("link", name="Try").click()
    page.settled().axe().shot("alert-rule-try")
    page.theme("dark").axe("color-contrast")
    page.theme("light").add(AlertRule).axe().shot("alert-rule-add")


def test_a_suggestion_is_accepted_in_its_row(page: Page) -> None:
    owner = make_workplace(1)
    link = TagLink.objects.get(workspace=owner.workspace)
    page.list(TagLink).axe().shot("tags-suggested")
    page.theme("dark").axe("color-contrast").shot("tags-suggested-dark")
    page.theme("light").change(link).axe().shot("tag-suggested")
    page.list(TagLink)
    page.raw.get_by_role("button", name="Accept “tag 1”").click()
    page.settled().axe().shot("tags-accepted")
    expect(page.raw.get_by_text("Accepted: 1.")).to_be_visible()
    assert again(link).state == "applied"
    page.change(link.rule).axe().shot("tag-rule")
    expect(page.raw.get_by_text("100.0 %, of 1")).to_be_visible()
