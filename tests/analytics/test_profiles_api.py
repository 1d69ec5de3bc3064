"""What is said of one user, workspace, conversation or model: the same figures as everywhere, to whom it concerns."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics import latency, rollups
from conversations.models import Agent, Conversation, Message, MessageFeedback
from llm.models import LLM
from tagging.models import Tag, TagLink
from tests.analytics.usage import Call, write
from tests.api.asking import error_of
from tests.catalogue import make_llm
from tests.people import Cast, Person, join
from workspaces.models import Membership

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)
DAY = {"start": "2026-10-25", "end": "2026-10-26"}


@pytest.fixture
def dora(alice: Person) -> Person:
    return join(alice.workspace, "dora", Membership.Role.ADMIN)


def make_staff(person: Person) -> Person:
    person.user.is_staff = person.user.is_superuser = True
    person.user.save(update_fields=["is_staff", "is_superuser"])
    return person


def liked(call: Call, thumb: str) -> MessageFeedback:
    """Feedback on the answer of ``call``, given now."""
    (log,) = write([call])
    Message.objects.filter(workspace_id=log.workspace_id, pk=log.message_id).update(
        role="assistant", llm=call.llm, model_used=str(call.llm), created_at=call.at
    )
    return MessageFeedback.objects.create(
        workspace_id=log.workspace_id, message_id=log.message_id, user=call.person.user, thumb=thumb
    )


# --- Users ------------------------------------------------------------------------------------------------------------


def test_a_user_has_a_favorite_model_and_their_own_figures(alice: Person, bob: Person, llm: LLM) -> None:
    other = make_llm("anthropic")
    write(
        [
            *(Call(NOON, bob, llm, latency_ms=ms, cost=1) for ms in (10, 12, 14)),
            Call(NOON, bob, other, key_source="user", latency_ms=16, cost=100),
            Call(NOON, bob, other, attempt=2, status="error"),
            Call(NOON, alice, other),
        ]
    )
    liked(Call(NOON, bob, llm, latency_ms=18), "down")
    found = bob.get("analytics/users/me", **DAY).json()
    assert found["user"]["email"] == "bob@example.org"
    assert (found["total_messages"], found["totals"]["calls"], found["total_cost"]) == (5, 6, "0.00")
    assert found["favorite_model"] == {"key": str(llm.pk), "name": str(llm), "calls": 4, "share": "0.6667"}
    assert found["tokens"] == {"input": 60, "cached_input": 0, "output": 120, "reasoning": 0, "total": 180}
    assert found["latency"] == {"p50": 14, "p95": 18, "p99": 18, "average": "14.0", "average_first_token": None}
    assert found["own_key_share"] == "0.1667"
    assert (found["feedback"]["down"], found["feedback"]["satisfaction"]) == (1, "0.000")
    assert [row["name"] for row in found["models"]] == [str(other), str(llm)]
    same = alice.get(f"analytics/users/{bob.user.pk}", **DAY).json()
    assert same == found


def test_members_see_their_own_feedback_and_what_is_public(alice: Person, bob: Person, llm: LLM) -> None:
    own = liked(Call(NOON, bob, llm), "up")
    MessageFeedback.objects.create(workspace=alice.workspace, message=own.message, user=alice.user, thumb="down")

    def counted(person: Person) -> list[int]:
        pages = (f"users/{bob.user.pk}", f"llms/{llm}")
        return [person.get(f"analytics/{page}", **DAY).json()["feedback"]["count"] for page in pages]

    assert (counted(alice), counted(bob)) == ([2, 2], [1, 1])
    MessageFeedback.objects.filter(workspace=alice.workspace, user=alice.user).update(is_public=True)
    assert counted(bob) == [2, 2]


def test_a_user_who_did_nothing_is_all_zeros(bob: Person) -> None:
    found = bob.get("analytics/users/me").json()
    assert (found["total_messages"], found["favorite_model"], found["latency"]["p50"]) == (0, None, None)


def test_users_are_found_by_those_who_may_know_of_them(cast: Cast, dora: Person) -> None:
    alice, bob, charlie = cast
    for person in (alice, dora):
        assert person.get(f"analytics/users/{bob.user.pk}").status_code == 200
        error_of(person.get(f"analytics/users/{charlie.user.pk}"), 404, "not_found")
    error_of(bob.get(f"analytics/users/{alice.user.pk}"), 404, "not_found")
    error_of(charlie.get(f"analytics/users/{alice.user.pk}"), 404, "not_found")
    error_of(alice.get("analytics/users/nobody"), 404, "not_found")
    assert make_staff(charlie).get(f"analytics/users/{alice.user.pk}").status_code == 200


# --- Workspaces -------------------------------------------------------------------------------------------------------


def test_a_workspace_shows_its_team_its_models_its_agents_and_its_tags(alice: Person, bob: Person, llm: LLM) -> None:
    other = make_llm("anthropic")
    helper = Agent.objects.create(workspace=alice.workspace, name="Helper", llm=llm)
    logs = write(
        [
            Call(NOON, alice, llm, agent=helper, cost=1),
            Call(NOON, bob, llm, cost=2),
            Call(NOON, bob, other, cost=4),
        ]
    )
    tag = Tag.objects.create(workspace=alice.workspace, name="customer", value="acme")
    TagLink.objects.create(
        workspace=alice.workspace, tag=tag, target_type="conversation", target_id=logs[1].conversation_id
    )
    found = alice.get(f"analytics/workspaces/{alice.workspace.slug}", **DAY).json()
    assert found == alice.get(f"analytics/workspaces/{alice.workspace.pk}", **DAY).json()
    assert found["totals"]["provider_cost"] == "0.000007"
    team = found["team_usage"]
    assert (team["members"], team["active_users"], team["is_complete"]) == (2, 2, True)
    assert [(row["name"], row["provider_cost"]) for row in team["users"]] == [
        ("bob@example.org", "0.000006"),
        ("alice@example.org", "0.000001"),
    ]
    assert found["top_users"] == team["users"]
    assert [(row["key"], row["provider_cost"]) for row in found["cost_breakdown"]["providers"]] == [
        ("anthropic", "0.000004"),
        ("openai", "0.000003"),
    ]
    assert [row["name"] for row in found["cost_breakdown"]["models"]] == [str(other), str(llm)]
    assert [(row["name"], row["calls"]) for row in found["agents"]] == [("", 2), ("Helper", 1)]
    assert [(row["name"], row["provider_cost"]) for row in found["tags"]] == [("customer:acme", "0.000006")]


def test_a_workspace_is_for_its_admins_and_for_staff(cast: Cast, dora: Person) -> None:
    alice, bob, charlie = cast
    path = f"analytics/workspaces/{alice.workspace.slug}"
    assert [person.get(path).status_code for person in (alice, dora, bob, charlie)] == [200, 200, 403, 404]
    assert make_staff(charlie).get(path).status_code == 200
    error_of(charlie.get("analytics/workspaces/nothing"), 404, "not_found")


# --- Conversations ----------------------------------------------------------------------------------------------------


def test_a_conversation_shows_all_that_it_cost(alice: Person, llm: LLM) -> None:
    other = make_llm("anthropic")
    logs = write(
        [Call(NOON, alice, llm, cost=1), Call(NOON, alice, other, cost=2), Call(NOON, alice, other, attempt=2)]
    )
    chat = logs[0].conversation_id
    Conversation.objects.filter(workspace=alice.workspace, pk=chat).update(created_at=NOON)
    write([Call(NOON, alice, llm)])  # in another one
    found = alice.get(f"analytics/conversations/{chat}").json()
    assert (found["of"], found["conversation"]) == ("conversation", str(chat))
    assert (found["total_messages"], found["total_tokens"], found["conversation_cost"]) == (2, 90, "0.00")
    assert [(row["name"], row["calls"], row["provider_cost"]) for row in found["models_used"]] == [
        (str(other), 2, "0.000002"),
        (str(llm), 1, "0.000001"),
    ]


def test_a_conversation_is_for_those_who_may_read_it(cast: Cast, llm: LLM) -> None:
    alice, _bob, _charlie = cast
    (log,) = write([Call(NOON, alice, llm)])
    path = f"analytics/conversations/{log.conversation_id}"
    assert [person.get(path).status_code for person in cast] == [200, 404, 404]
    error_of(alice.get("analytics/conversations/x"), 404, "not_found")


# --- Models -----------------------------------------------------------------------------------------------------------


def test_models_side_by_side(alice: Person, llm: LLM) -> None:
    other = make_llm("anthropic", price={"input_usd_per_mtok": Decimal("3")})
    for thumb in ("up", "up", "down"):
        liked(Call(NOON, alice, llm, latency_ms=1000, cost=10), thumb)
    write([Call(NOON, alice, llm, status="error", cost=4), Call(NOON, alice, other, latency_ms=5)])
    found = alice.get("analytics/models/compare", **DAY).json()["models"]
    assert [model["model"] for model in found] == [str(llm), str(other)]
    first, second = found
    near = latency.middle_of(latency.step_of(1000))
    assert first["latency"] == {"p50": near, "p95": near, "p99": near, "average": "1000.0"}
    assert abs(near - 1000) <= 25
    assert (first["satisfaction"], first["error_rate"], first["tokens_per_second"]) == ("0.667", "0.2500", "20.00")
    assert first["cost_per_positive"] == "0.000017"
    assert first["price"] == {"input_usd_per_mtok": "1.00", "output_usd_per_mtok": "2.00"}
    assert (second["satisfaction"], second["cost_per_positive"]) == (None, None)
    assert second["price"]["input_usd_per_mtok"] == "3.00"
    alone = alice.get(f"analytics/llms/{llm}", **DAY).json()
    assert {name: alone[name] for name in first} == first
    assert alice.get(f"analytics/llms/{llm.pk}", **DAY).json() == alone
    rollups.roll_up()
    assert alice.get("analytics/models/compare", **DAY).json()["models"] == found


def test_a_model_shows_what_the_caller_may_see_of_it(cast: Cast, llm: LLM) -> None:
    alice, bob, charlie = cast
    write([Call(NOON, alice, llm), Call(NOON, bob, llm, latency_ms=7), Call(NOON, charlie, llm)])

    def seen(person: Person) -> tuple[str, int, int]:
        body = person.get(f"analytics/llms/{llm}", **DAY).json()
        return body["of"], body["usage"]["calls"], body["latency"]["p50"]

    near = latency.middle_of(latency.step_of(100))
    assert [seen(person) for person in cast] == [("workspace", 2, 7), ("user", 1, 7), ("workspace", 1, near)]
    assert seen(make_staff(charlie)) == ("fleet", 3, near)
    error_of(alice.get("analytics/llms/openai/none"), 404, "not_found")


def test_a_model_that_nobody_called_is_all_zeros(alice: Person, llm: LLM) -> None:
    found = alice.get(f"analytics/llms/{llm}").json()
    assert (found["usage"]["calls"], found["latency"]["p99"], found["cost_per_positive"]) == (0, None, None)


# --- What it takes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "number"),
    [("users/me", 7), ("workspaces/acme", 11), ("models/compare", 7), ("llms/openai/openai-test", 9)],
)
def test_queries_do_not_grow_with_what_there_is(alice: Person, bob: Person, llm: LLM, path: str, number: int) -> None:
    write([Call(NOON, alice, llm), Call(NOON, bob, make_llm("anthropic")), Call(NOON, alice, make_llm("google"))])
    alice.get(f"analytics/{path}", **DAY)
    with CaptureQueriesContext(connection) as captured:
        assert alice.get(f"analytics/{path}", **DAY).status_code == 200
    assert len(captured) == number
