"""Webhook endpoints as people keep them. The secret is shown when it is made, and never again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from analytics.alerting import delivering, payloads, webhooks
from analytics.alerting.webhooks import Answer
from analytics.models import AlertDelivery, WebhookEndpoint
from llm.hosts import HostForbidden
from synapscale.common import audit
from synapscale.common.db import in_db
from synapscale.common.errors import Refusal
from synapscale.common.models import new_id
from synapscale.common.tenancy import fleet_wide
from workspaces import system
from workspaces.models import Workspace

MAX_PER_OWNER = 20


def visible_to(workspace: Workspace, *, is_operator: bool) -> QuerySet[WebhookEndpoint]:
    """The workspace's own; for operators theirs, too."""
    whose = Q(workspace=workspace)
    return WebhookEndpoint.objects.filter(whose | Q(workspace=None) if is_operator else whose)


@sensitive_variables("secret")
def create(endpoint: WebhookEndpoint) -> tuple[WebhookEndpoint, str]:
    """``endpoint``, stored, and its secret in clear, for this once. Raises a Refusal that names the field."""
    require_url(endpoint)
    with transaction.atomic():
        # One after another, or two at once would both be the last. Operators' own are counted behind the system's workspace.
        owner = endpoint.workspace_id or system.membership().workspace_id
        Workspace.objects.select_for_update(no_key=True).get(pk=owner)
        if WebhookEndpoint.objects.filter(workspace=endpoint.workspace).count() >= MAX_PER_OWNER:
            raise Refusal(f"There are {MAX_PER_OWNER} webhooks already.", code="too_many_webhooks", status=409)
        secret = endpoint.new_secret()
        endpoint.save(force_insert=True)
    return endpoint, secret


def change(endpoint: WebhookEndpoint, changes: dict[str, Any]) -> WebhookEndpoint:
    """Raises a Refusal that names the field. What operators allowed holds for the address that they looked at: another
    one has to be public.
    """
    columns = {*changes, "updated_at"}
    if changes.get("url", endpoint.url) != endpoint.url and "allows_private_addresses" not in changes:
        endpoint.allows_private_addresses = False
        columns.add("allows_private_addresses")
    for name, value in changes.items():
        setattr(endpoint, name, value)
    require_url(endpoint)
    with transaction.atomic():
        endpoint.save(update_fields=columns)
    return endpoint


def require_url(endpoint: WebhookEndpoint) -> None:
    try:
        webhooks.check_url(endpoint.url, allows_private=endpoint.allows_private_addresses)
    except HostForbidden as fault:
        raise Refusal(f"url: {fault.said}", code="invalid", details={"url": [fault.said]}) from None


@sensitive_variables("secret")
def rotate(endpoint: WebhookEndpoint) -> str:
    """A new secret, in clear for this once. From now on everything is signed with it, and nothing with the old one."""
    secret = endpoint.new_secret()
    with transaction.atomic():
        endpoint.save(update_fields=["ciphertext", "key_id", "updated_at"])
        audit.record_new_secret(endpoint)
    return secret


def delete(endpoint: WebhookEndpoint) -> None:
    """With what was, or was to be, sent there."""
    with fleet_wide(), transaction.atomic():  # an operators' endpoint has deliveries in any workspace
        AlertDelivery.objects.filter(endpoint=endpoint)._raw_delete("default")
        WebhookEndpoint.objects.filter(pk=endpoint.pk)._raw_delete("default")
        audit.record_deletion(endpoint)


async def test(endpoint: WebhookEndpoint) -> tuple[Answer, int]:
    """Post a ``ping`` now, switched off or not: what became of it, and how many milliseconds that took."""
    begun: datetime = timezone.now()
    answer = await webhooks.post(endpoint, payloads.ping(at=begun), message_id=f"msg_{new_id().hex}")
    ended = timezone.now()
    await in_db(delivering.note, endpoint, answer, ended)
    return answer, int((ended - begun).total_seconds() * 1000)
