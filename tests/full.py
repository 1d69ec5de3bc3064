"""A workspace with at least one row in every tenant table, each foreign key filled."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from analytics.alerting import outbox
from analytics.models import Alert, AlertEvent, AlertRule, Report, ReportMail, ReportRun, WebhookEndpoint
from billing import ledger
from billing.models import TokenSpend
from conversations import admission
from conversations.asks import Ask
from conversations.models import Agent, Conversation, Message, MessageFeedback, MessageImage
from conversations.settling import settle
from llm.models import LLM, PriceProposal
from tagging.models import Tag, TagLink, TagRule
from tests.conversations.calling import sent
from tests.people import Person, fund
from workspaces.models import AccessToken, RateBucket


def fill(person: Person, llm: LLM) -> Conversation:
    """An agent's conversation with one answer: charged in full, over its hold, refunded in part, praised, and asked for
    with an idempotency key."""
    fund(person.workspace, "1")
    agent = Agent.objects.create(
        workspace=person.workspace, name="Helper", llm=llm, is_default=True, created_by=person.user
    )
    conversation = Conversation.objects.create(workspace=person.workspace, user=person.user, agent=agent, title="First")
    admitted = admission.admit(
        user=person.user,
        workspace=person.workspace,
        membership=person.membership,
        conversation_id=conversation.pk,
        ask=Ask(content="Hello", max_tokens=100),
        idempotency_key="key-1",
    )
    message = settle(
        workspace_id=person.workspace.pk,
        message_id=admitted.answer.pk,
        outcome=sent(usage={"input": 1000, "output": 100}),
    )
    (charge,) = message.billing_events
    ledger.refund(original=charge, amount=Decimal("0.00001"), reference="r", description="Sorry", actor=person.user)
    MessageFeedback.objects.create(
        workspace=person.workspace,
        message=message,
        user=person.user,
        stars=5,
        review_status="done",
        reviewed_by=person.user,
        reviewed_at=timezone.now(),
    )
    MessageImage.objects.create(workspace=person.workspace, message=admitted.question, position=0, data=b"GIF89a")
    token = AccessToken.objects.get(workspace=person.workspace, user=person.user)
    TokenSpend.objects.create(workspace=person.workspace, access_token=token)
    for owner in (token, None):
        RateBucket.objects.create(
            workspace=person.workspace, access_token=owner, requests_left=0, tokens_left=0, filled_at=timezone.now()
        )
    tag = Tag.objects.create(workspace=person.workspace, name="customer", value="acme", created_by=person.user)
    rule = TagRule.objects.create(
        workspace=person.workspace, name="Failures", condition="error", tag=tag, created_by=person.user
    )
    TagRule.objects.create(workspace=person.workspace, name="Failed", condition="error", is_builtin=True)
    TagLink.objects.create(
        workspace=person.workspace,
        tag=tag,
        target_type="message",
        target_id=message.pk,
        origin=TagLink.Origin.RULE,
        rule=rule,
        confidence_score=1,
    )
    PriceProposal.objects.get_or_create(llm=llm, defaults={"rates": {"input": "1"}, "source": "a list of prices"})
    report(person)
    alert(person)
    assert Message.objects.filter(workspace=person.workspace).count() == 2
    return conversation


def report(person: Person) -> Report:
    """Yesterday's calls, run by schedule, with a link that was sent."""
    now = timezone.now()
    window = {"start_at": now - timedelta(days=1), "end_at": now}
    made = Report.objects.create(
        workspace=person.workspace,
        created_by=person.user,
        name="Yesterday",
        kind="calls",
        period="yesterday",
        schedule="daily",
        next_run_at=now + timedelta(days=1),
        recipients=[str(person.user.pk)],
    )
    run = ReportRun.objects.create(
        workspace=person.workspace,
        report=made,
        asked_by=person.user,
        due_at=now,
        idempotency_key="key-1",
        kind="calls",
        tz="UTC",
        format="csv",
        state="done",
        rows=0,
        finished_at=now,
        **window,
    )
    ReportMail.objects.create(
        workspace=person.workspace, report=made, run=run, user=person.user, tries=1, mailed_at=now
    )
    return made


def alert(person: Person) -> Alert:
    """An acknowledged alert of a rule of the workspace's own, told by mail and to a webhook."""
    now = timezone.now()
    endpoint = WebhookEndpoint(workspace=person.workspace, url="https://hooks.example.com/", created_by=person.user)
    endpoint.new_secret()
    endpoint.save(force_insert=True)
    rule = AlertRule.objects.create(
        workspace=person.workspace,
        name="Cost",
        condition="cost",
        scope="user",
        window_seconds=3600,
        threshold=1,
        created_by=person.user,
    )
    made = Alert.objects.create(
        workspace=person.workspace,
        rule=rule,
        subject_kind="user",
        subject_id=str(person.user.pk),
        subject_label=person.user.email,
        user=person.user,
        state="acknowledged",
        severity="warning",
        value=2,
        threshold=1,
        explanation="Two is more than one.",
        fired_at=now,
        last_seen_at=now,
        acknowledged_at=now,
        acknowledged_by=person.user,
    )
    outbox.write(AlertEvent.FIRING, made, rule, now=now)
    return made
