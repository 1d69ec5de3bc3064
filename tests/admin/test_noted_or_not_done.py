"""Actions of lists: what the audit log can't take is not done either."""

from __future__ import annotations

from typing import Any

import pytest

from analytics.models import Alert, AlertDelivery
from conversations.models import MessageFeedback
from tagging.models import TagLink
from tests.admin.rows import Office, again, make_workplace, newest

ACTIONS: list[tuple[Any, str, dict[str, Any]]] = [
    (TagLink, "accept", {"state": "suggested"}),
    (TagLink, "reject", {"state": "suggested"}),
    (MessageFeedback, "mark_as_reviewed", {"review_status": "open"}),
    (Alert, "acknowledge", {"state": "firing"}),
    (AlertDelivery, "send_again", {"state": "failed"}),
]


def waiting(model: Any, before: dict[str, Any]) -> Any:
    make_workplace(1)
    row = newest(model)
    if model is Alert:
        before = {**before, "acknowledged_at": None, "acknowledged_by": None, "resolved_at": None}
    if model is AlertDelivery:
        before = {**before, "sent_at": None}
    model.objects.filter(workspace_id=row.workspace_id, pk=row.pk).update(**before)
    return again(row)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("model", "action", "before"), ACTIONS)
def test_what_can_not_be_noted_is_not_done(
    office: Office, model: Any, action: str, before: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    row = waiting(model, before)
    office.client.raise_request_exception = False
    request.getfixturevalue("full_log")
    data = {"action": action, "_selected_action": [str(row.pk)]}
    assert office.client.post(office.url(model, "changelist"), data).status_code == 500
    now = again(row)
    assert {name: getattr(now, name) for name in before} == before
