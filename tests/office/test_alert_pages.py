"""What an operator finds out about an alert, and does about it."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.models import Alert, AlertRule
from llm.models import LLM
from tests import full
from tests.admin.rows import Office, again
from tests.analytics.alerting import fire, make_rule
from tests.analytics.usage import Call, write
from tests.audited import changes, entries, notes
from tests.people import Cast
from workspaces.models import User

pytestmark = pytest.mark.django_db


def office_of(user: User) -> Office:
    client = Client()
    client.force_login(user)
    return Office(client)


@pytest.fixture
def office(db: None) -> Office:
    return office_of(User.objects.create_superuser("root@example.org"))


@pytest.fixture
def clerk(db: None) -> User:
    return User.objects.create_user("clerk@example.org", is_staff=True)


@pytest.fixture
def alert(cast: Cast) -> Alert:
    made = full.alert(cast.alice)
    Alert.objects.filter(workspace=made.workspace).update(state="firing", acknowledged_at=None, acknowledged_by=None)
    return again(made)


def page(row: Any, action: str) -> str:
    return f"/admin/analytics/{type(row)._meta.model_name}/{row.pk}/{action}/"


def said(office: Office, response: Any) -> str:
    assert response.status_code == 302, response.text
    return " ".join(map(str, office.client.get(response["Location"]).context["messages"]))


def panel(response: Any) -> str:
    inner = response.text.partition('class="office-panel"')[2].partition("<form")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", inner)).split())


def allow(user: User, *codenames: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))


# --- Alerts -----------------------------------------------------------------------------------------------------------


def test_what_fires_comes_first_and_what_is_looked_after_next(office: Office, cast: Cast) -> None:
    workspace, now = cast.alice.workspace, timezone.now()
    looked_after = {"state": "acknowledged", "acknowledged_at": now, "acknowledged_by": cast.alice.user}
    over = {"state": "resolved", "resolved_at": now}
    made = [
        fire(workspace, subject_id="firing"),
        fire(workspace, subject_id="acknowledged", **looked_after),
        fire(workspace, subject_id="firing too"),
        fire(workspace, subject_id="over", **over),
    ]
    listed = [row.pk for row in office.list(Alert).context["cl"].result_list]
    assert listed == [made[2].pk, made[0].pk, made[1].pk, made[3].pk]
    assert "$2.00 (threshold $1.00)" in office.list(Alert).text


def test_the_page_says_what_happened_in_words_and_where_to_look(
    office: Office, cast: Cast, llm: LLM, alert: Alert
) -> None:
    write(
        [
            Call(at=alert.last_seen_at - timedelta(minutes=30), person=cast.alice, llm=llm),
            Call(at=alert.last_seen_at - timedelta(minutes=61), person=cast.alice, llm=llm),
            Call(at=alert.last_seen_at - timedelta(minutes=30), person=cast.bob, llm=llm),
        ]
    )
    response = office.open(alert)
    text = panel(response)
    assert "Two is more than one." in text
    assert "State Firing Value $2.00 Threshold $1.00" in text
    assert "Rule Cost" in text
    assert "Nobody has done anything about it yet." in text
    assert "It began To be sent" in text
    links = dict(re.findall(r'<a href="([^"]+)">(The calls of the window|The person)</a>', response.text))
    assert sorted(links.values()) == ["The calls of the window", "The person"]
    calls = next(url for url, title in links.items() if title == "The calls of the window")
    found = office.client.get(html.unescape(calls)).context["cl"].result_list
    assert [(row.user, row.created_at) for row in found] == [
        (cast.alice.user, alert.last_seen_at - timedelta(minutes=30))
    ]


@pytest.mark.parametrize(
    ("kind", "condition", "titles"),
    [
        ("fleet", "cost", ["The calls of the window"]),
        ("workspace", "error_rate", ["The calls that failed", "The workspace"]),
        ("llm", "latency", ["The calls of the window", "The model"]),
        ("provider", "error_rate", ["The models of the provider"]),
        ("key", "key_expiry", ["The key"]),
    ],
)
def test_every_kind_of_subject_leads_somewhere(
    office: Office, cast: Cast, llm: LLM, kind: str, condition: str, titles: list[str]
) -> None:
    subject = {"workspace": str(cast.alice.workspace.pk), "llm": str(llm.pk), "provider": "openai"}.get(
        kind, str(llm.pk)
    )
    rule = make_rule(condition=condition, scope="llm" if kind == "key" else kind, threshold="0.05", settings={})
    made = fire(cast.alice.workspace, rule, subject_kind=kind, subject_id=subject)
    response = office.open(made)
    part = response.text.partition('class="office-links"')[2].partition("</dd>")[0]
    found = re.findall(r'<a href="([^"]+)">([^<]+)</a>', part)
    assert [title for _url, title in found] == titles
    if kind != "key":
        assert [office.client.get(html.unescape(url)).status_code for url, _title in found] == [200] * len(found)


def test_an_alert_is_acknowledged_with_a_note(office: Office, cast: Cast, alert: Alert) -> None:
    url = page(alert, "acknowledge")
    assert url in office.open(alert).text
    asked = office.client.post(url, {"typed": "1", "note": "Provider is down"})
    assert "Two is more than one." not in asked.text
    assert "is told that somebody looks after it" in asked.text
    assert again(alert).state == "firing"
    form = {"typed": "1", "confirmed": "1", "note": "Provider is down"}

    assert said(office, office.client.post(url, form)) == "Acknowledged."
    assert (again(alert).state, again(alert).acknowledged_by.email) == ("acknowledged", "root@example.org")
    assert "There was nothing left to do" in said(office, office.client.post(url, form))
    (entry,) = entries(alert)
    assert (entry.changes, entry.additional_data["note"]) == (
        {"state": ["firing", "acknowledged"]}, "Provider is down",
    )  # fmt: skip
    response = office.open(alert)
    assert "What was done Acknowledged. Provider is down root@example.org" in panel(response)
    assert url not in response.text

    Alert.objects.filter(workspace=alert.workspace).update(state="resolved", resolved_at=timezone.now())
    assert "This alert is over." in office.client.post(url, form).text


def test_its_rule_is_silenced_from_its_page(office: Office, alert: Alert) -> None:
    url = page(alert, "silence")
    form = {"typed": "1", "confirmed": "1", "span": "8", "reason": "Known, <b>fixed</b> tomorrow"}
    response = office.client.post(url, form)
    assert response["Location"] == f"/admin/analytics/alert/{alert.pk}/change/"
    assert "There was nothing left to do" in said(office, office.client.post(url, form))  # a double click
    until = AlertRule.objects.get().silenced_until
    assert until is not None
    assert timedelta(hours=7, minutes=59) < until - timezone.now() <= timedelta(hours=8)
    response = office.open(alert)
    assert "silenced until" in panel(response)
    assert "Silenced. (the rule) Known, <b>fixed</b> tomorrow" in panel(response)
    assert "<b>fixed</b>" not in response.text


def test_the_page_of_an_alert_makes_the_same_few_queries_however_much_there_is(clerk: User, alert: Alert) -> None:
    allow(clerk, "view_alert", "change_alert", "view_alertrule", "change_alertrule", "view_alertdelivery")
    office = office_of(clerk)

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert office.open(alert).status_code == 200
        return len(queries)

    count()
    few = count()
    for span in ("1", "8", "24"):
        office.client.post(page(alert, "silence"), {"typed": "1", "confirmed": "1", "span": span, "reason": "x"})
    assert count() == few == 7
    with CaptureQueriesContext(connection) as queries:
        office.list(Alert)
    assert len(queries) == 6


def test_what_is_done_asks_for_its_permission(clerk: User, alert: Alert) -> None:
    office, rule = office_of(clerk), AlertRule.objects.get()
    pages = [
        (alert, "acknowledge", "change_alert"),
        (alert, "silence", "change_alertrule"),
        (rule, "silence", "change_alertrule"),
        (rule, "end-silence", "change_alertrule"),
    ]
    form = {"typed": "1", "confirmed": "1", "span": "1", "reason": "x"}
    for row, action, codename in pages:
        allow(clerk, "view_alert", "view_alertrule")
        assert page(row, action) not in office.open(row).text
        assert office.client.get(page(row, action)).status_code == 403
        assert office.client.post(page(row, action), form).status_code == 403
        allow(clerk, "view_alert", "view_alertrule", codename)
        assert office.client.get(page(row, action)).status_code == 200
    assert again(alert).state == "firing"
    assert office.client.get(page(rule, "try")).status_code == 200
    allow(clerk)
    assert office.client.get(page(rule, "try")).status_code == 403


# --- Rules ------------------------------------------------------------------------------------------------------------


def test_a_rule_is_silenced_until_a_moment_and_heard_again(office: Office, alert: Alert) -> None:
    rule = AlertRule.objects.get()
    url, form = page(rule, "silence"), {"typed": "1", "confirmed": "1", "reason": "Launch"}
    for typed, field in (
        ({"span": "until"}, "until"),
        ({"span": "until", "until_0": "2020-01-01", "until_1": "00:00:00"}, "until"),
        ({"span": "2"}, "span"),
        ({"span": "1", "reason": ""}, "reason"),
    ):
        assert list(office.client.post(url, {**form, **typed}).context["form"].errors) == [field]
    assert again(rule).silenced_until is None
    until = (timezone.now() + timedelta(days=3)).replace(microsecond=0)
    typed = {"span": "until", "until_0": f"{until:%Y-%m-%d}", "until_1": f"{until:%H:%M:%S}"}
    assert "Silenced until " in said(office, office.client.post(url, {**form, **typed}))
    assert again(rule).silenced_until == until
    assert changes(rule) == {"silenced_until": ["None", str(until)]}
    assert entries(rule)[-1].additional_data["reason"] == "Launch"
    assert "silenced until" in office.list(AlertRule).text

    end = page(rule, "end-silence")
    assert end in office.open(rule).text
    assert said(office, office.client.post(end, form)) == "Silence ended: 1."
    assert again(rule).silenced_until is None
    assert "There was nothing left to do" in said(office, office.client.post(end, form))
    assert end not in office.open(rule).text
    assert notes(rule) == ["Silenced.", "Silence ended."]


def test_rules_are_silenced_in_the_list(office: Office, alert: Alert) -> None:
    rules = [AlertRule.objects.get(), make_rule(name="Other")]
    assert "2 rules" in office.act(AlertRule, "silence", *rules).text
    form = {"typed": "1", "confirmed": "1", "reason": "x", "span": "24"}
    chosen = {"_selected_action": [str(rule.pk) for rule in rules]}
    url = office.url(AlertRule, "changelist")
    office.client.post(url, {"action": "silence", **chosen, **form})
    for rule in rules:
        assert timedelta(hours=23) < again(rule).silenced_until - timezone.now() <= timedelta(hours=24)
    assert "Silence ended: 2." in said(office, office.client.post(url, {"action": "end_silence", **chosen, **form}))
    assert [again(rule).silenced_until for rule in rules] == [None, None]


def test_a_rule_is_tried(office: Office, cast: Cast, llm: LLM, alert: Alert) -> None:
    rule = make_rule(name="Spend", threshold="0.5")
    write([Call(at=timezone.now() - timedelta(minutes=5), person=cast.bob, llm=llm, cost=700_000)])
    response = office.client.get(page(rule, "try"))
    assert "bob@example.org in Acme" in response.text
    assert "the providers ask $0.70 for 1 call" in response.text
    assert "It fired 0 times." in response.text
    AlertRule.objects.filter(pk=rule.pk).update(threshold="0.7")
    assert "Nothing: nothing it watches is over $0.70." in office.client.get(page(rule, "try")).text
    assert "It fired once." in office.client.get(page(alert.rule, "try")).text
    AlertRule.objects.filter(pk=rule.pk).update(condition="gone")
    assert "There is no condition “gone”" in office.client.get(page(rule, "try")).text
    assert Alert.objects.filter(workspace=alert.workspace).count() == 1


def test_the_form_of_a_rule_says_its_unit_and_its_settings(office: Office, alert: Alert) -> None:
    fields = office.open(AlertRule.objects.get()).context["adminform"].form.fields
    assert "Unit: USD." in fields["threshold"].help_text
    assert "“of” (so: cost)" in fields["settings"].help_text
    assert "86400 a day" in fields["window_seconds"].help_text
    add = office.client.get(office.url(AlertRule, "add")).context["adminform"].form.fields
    assert [key for key, _ in add["condition"].choices] == [
        "", "anomaly", "cost", "error_rate", "key_expiry", "latency",
    ]  # fmt: skip
    assert "error_rate: share, 0 to 1" in add["threshold"].help_text
