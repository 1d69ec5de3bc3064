"""manage.py check_alerts, the periodic jobs, and moving secrets to another master key."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.utils import timezone

from llm.models import LLM
from synapscale.common import periodic
from tests.analytics.alerting import Listener, make_endpoint, make_rule
from tests.analytics.usage import Call, write
from tests.people import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def check() -> list[str]:
    out = io.StringIO()
    call_command("check_alerts", stdout=out)
    return out.getvalue().splitlines()


def test_it_says_what_fired_and_what_resolved(cast: Cast, llm: LLM) -> None:
    rule = make_rule(cast.alice.workspace)
    write([Call(timezone.now(), cast.bob, llm, cost=3_000_000)])
    said = "bob@example.org in Acme: the providers ask $3.00 for 1 call of the last 60 minutes; more than $0.000001 is too much."
    assert check() == [
        f"fired: warning: {said}",
        "check_alerts: 1 fired, 0 resolved, 0 rules failed; 1 sent, 0 to be tried again, 0 given up",
    ]
    assert len(mail.outbox) == 1
    rule.threshold = 100
    rule.save()
    assert check()[0] == f"resolved: warning: {said}"


def test_it_exits_1_when_a_rule_could_not_be_looked_at(cast: Cast) -> None:
    make_rule(cast.alice.workspace, settings={"nonsense": 1})
    with pytest.raises(SystemExit, match="1"):
        check()


def test_servers_do_it_by_themselves() -> None:
    jobs = {job.name: job.setting for job in periodic.jobs()}
    assert (jobs["alerts"], jobs["alert_deliveries"]) == ("ALERT_SECONDS", "ALERT_DELIVERY_SECONDS")


def test_secrets_move_to_the_newest_master_key(cast: Cast, settings: Any) -> None:
    endpoint, secret = make_endpoint(cast.alice.workspace, Listener().url)
    settings.MASTER_KEYS = [f"new:{'x' * 40}", *settings.MASTER_KEYS]
    call_command("rotate_keys", stdout=io.StringIO())
    endpoint.refresh_from_db()
    assert (endpoint.key_id, endpoint.get_secret()) == ("new", secret)
