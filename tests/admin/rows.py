"""Rows of every model, made the way the product makes them, and a browser for the back office."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing import ledger
from billing.models import Hold, HoldIncident, TokenSpend
from conversations import chat, feedback, settling
from conversations.admission import Admitted
from conversations.asks import Ask
from conversations.models import Agent, Conversation, Message, MessageImage
from conversations.outcomes import Outcome
from llm.models import LLM, PriceProposal, ProviderConnection
from llm.types import Usage
from synapscale.common.models import PeriodicJob, TenantModel
from synapscale.common.tenancy import fleet_wide
from tagging.models import Tag, TagLink, TagRule
from tests import full
from tests.catalogue import make_llm
from tests.people import Person, fund, join, make_workspace
from workspaces.models import AccessToken, RateBucket, UserVariable

SECRET = "sk-live-0123456789-very-secret-wxyz"
CONTENT = "the answer nobody may read in a list"


@dataclass(frozen=True)
class Office:
    """The pages of the back office, for whoever is signed in."""

    client: Client

    def url(self, model: type[Model], page: str, *args: Any) -> str:
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)

    def list(self, model: type[Model], **query: Any) -> Any:
        return self.client.get(self.url(model, "changelist"), query)

    def found(self, model: type[Model], **query: Any) -> set[Any]:
        """The keys of the rows that the list shows."""
        response = self.list(model, **query)
        assert response.status_code == 200, response
        return {row.pk for row in response.context["cl"].result_list}

    def open(self, row: Model) -> Any:
        return self.client.get(self.url(type(row), "change", row.pk))

    def save(self, row: Model, **data: Any) -> Any:
        """Submit the row's form as it is shown, with ``data`` typed over it."""
        form = self.open(row).context["adminform"].form
        return self.client.post(self.url(type(row), "change", row.pk), {**shown(form), **data})

    def add(self, model: type[Model], **data: Any) -> Any:
        form = self.client.get(self.url(model, "add")).context["adminform"].form
        return self.client.post(self.url(model, "add"), {**shown(form), **data})

    def act(self, model: type[Model], action: str, *rows: Model) -> Any:
        data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
        return self.client.post(self.url(model, "changelist"), data, follow=True)


def shown(form: Any) -> dict[str, Any]:
    """What a browser would send back of ``form``."""
    data: dict[str, Any] = {}
    for bound in form:
        value = bound.value()
        if hasattr(bound.field.widget, "decompress"):
            for part, text in zip(("0", "1"), bound.field.widget.decompress(value), strict=True):
                data[f"{bound.html_name}_{part}"] = "" if text is None else str(text)
        elif value is not None and value is not False:
            data[bound.html_name] = value
    return data


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200, response
    return dict(response.context["adminform"].form.errors)


def our_models() -> list[type[Model]]:
    """The registered models, in a fixed order."""
    return sorted(admin.site._registry, key=lambda model: model._meta.label)


def conversation_of(person: Person, **fields: Any) -> Conversation:
    return Conversation.objects.create(workspace=person.workspace, user=person.user, **fields)


def answer_in(conversation: Conversation, person: Person, llm: LLM, *, key: str = "") -> Message:
    """A question and its answer, charged: 1000 tokens in, 500 out."""
    admitted = chat.admit(
        user=person.user,
        workspace=person.workspace,
        membership=person.membership,
        conversation_id=conversation.pk,
        ask=Ask(content="a question nobody may read in a list", llm=str(llm)),
        idempotency_key=key,
    )
    assert isinstance(admitted, Admitted)
    outcome = Outcome(status=Message.Status.SENT, content=CONTENT, usage=Usage(input=1000, output=500), latency_ms=12)
    return settling.settle(workspace_id=person.workspace.pk, message_id=admitted.answer.pk, outcome=outcome)


def admitted_by(person: Person, llm: LLM) -> Hold:
    """A call under way, as it is before the provider is called."""
    conversation = conversation_of(person)
    admitted = chat.admit(
        user=person.user,
        workspace=person.workspace,
        membership=person.membership,
        conversation_id=conversation.pk,
        ask=Ask(content="Hi", llm=str(llm), max_tokens=100),
        idempotency_key="",
    )
    assert isinstance(admitted, Admitted)
    hold = admitted.answer.hold
    assert hold is not None
    return hold


def make_workplace(number: int) -> Person:
    """A workspace with a row or more of every kind. ``number`` tells workplaces apart."""
    owner = join(make_workspace(f"works-{number}"), f"owner-{number}", "owner")
    workspace = owner.workspace
    fund(workspace, "5")
    llm = make_llm("demo", f"demo-{number}")
    variable = UserVariable(workspace=workspace, category="api_key", name="openai")
    variable.set_value(SECRET)
    variable.save()
    agent = Agent.objects.create(workspace=workspace, name=f"Agent {number}", llm=llm, created_by=owner.user)
    conversation = conversation_of(owner, agent=agent, title=f"Talk {number}")
    answer = answer_in(conversation, owner, llm, key=f"key-{number}")
    log = answer.usage_logs.get()
    ledger.refund(
        original=log.billing_event, amount=Decimal("0.000001"), reference=f"refund-{number}", description="", actor=None
    )
    ledger.record_incident(hold=answer.hold, kind=HoldIncident.Kind.OVERRUN, amount=Decimal("0.5"), detail="")
    feedback.give(message=answer, user=owner.user, thumb="down", text=CONTENT, suggestion=CONTENT)
    MessageImage.objects.create(workspace=workspace, message=answer, position=0, data=b"GIF89a")
    tag = Tag.objects.create(workspace=workspace, name=f"tag {number}", created_by=owner.user)
    rule = TagRule.objects.create(workspace=workspace, name=f"rule {number}", condition="error", tag=tag)
    TagLink.objects.create(
        workspace=workspace,
        tag=tag,
        target_type="message",
        target_id=answer.pk,
        state=TagLink.State.SUGGESTED,
        origin=TagLink.Origin.RULE,
        rule=rule,
        confidence_score="0.5",
    )
    full.alert(owner)
    token, _ = AccessToken.issue(user=owner.user, workspace=workspace, name=f"token {number}")
    TokenSpend.objects.create(workspace=workspace, access_token=token)
    RateBucket.objects.create(
        workspace=workspace, access_token=token, requests_left=0, tokens_left=0, filled_at=timezone.now()
    )
    ProviderConnection.objects.create(
        slug=f"host-{number}", name=f"Host {number}", base_url="https://models.example/v1"
    )
    PriceProposal.objects.create(llm=llm, rates={"input": "1", "output": "2"}, source="a list of prices")
    full.report(owner)
    Group.objects.create(name=f"group {number}")
    PeriodicJob.objects.create(name=f"job {number}", started_at=timezone.now())
    return owner


def newest(model: type[Model]) -> Any:
    with fleet_wide():
        return model._default_manager.order_by("-pk").first()


def again(row: Any) -> Any:
    """The row as it is stored now."""
    rows = type(row)._default_manager.filter(pk=row.pk)
    return rows.get(workspace_id=row.workspace_id) if isinstance(row, TenantModel) else rows.get()
