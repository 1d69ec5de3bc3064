"""Tags that several callers change at the same moment: whoever comes later sees it, and nobody breaks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from conversations.models import Conversation
from tagging.models import Tag, TagLink
from tests.people import Cast, make_cast
from tests.tagging.tagged import links_of, make_tag, said
from tests.together import at_once

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 4


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


@pytest.fixture
def targets(cast: Cast) -> list[dict[str, str]]:
    alice = cast.alice
    made = Conversation.objects.bulk_create(
        Conversation(workspace=alice.workspace, user=alice.user, is_shared=True) for _ in range(20)
    )
    return said("conversation", *(one.pk for one in made))


def statuses(responses: list[Any]) -> Counter[int]:
    return Counter(response.status_code for response in responses)


def test_two_merges_at_once(cast: Cast, targets: list[dict[str, str]]) -> None:
    """Into each other: one of the two is left, and everything carries it."""
    alice = cast.alice
    for number in range(ROUNDS):
        pair = [f"a:{number}", f"b:{number}"]
        for label in pair:
            make_tag(alice, label)
        alice.post("tags/add", {"tags": [pair[0]], "targets": targets[:15]})
        alice.post("tags/add", {"tags": [pair[1]], "targets": targets[5:]})
        found = statuses(
            at_once(2, lambda turn, pair=pair: alice.post(f"tags/{pair[turn]}/merge", {"into": pair[1 - turn]}))
        )
        assert found == {200: 1, 404: 1}
        (left,) = Tag.objects.filter(workspace=alice.workspace, label__in=pair)
        assert TagLink.objects.filter(workspace=alice.workspace, tag=left).count() == 20


def test_a_chain_of_merges_at_once(cast: Cast, targets: list[dict[str, str]]) -> None:
    """Of a into b and b into c: whichever is first, nothing is lost."""
    alice = cast.alice
    for label in "abc":
        make_tag(alice, label)
    alice.post("tags/add", {"tags": ["a"], "targets": targets[:10]})
    alice.post("tags/add", {"tags": ["b"], "targets": targets[10:]})
    found = statuses(at_once(2, lambda turn: alice.post(f"tags/{'ab'[turn]}/merge", {"into": "bc"[turn]})))
    assert set(found) <= {200, 404}
    labels = Counter(label for label, _, _ in links_of(alice))
    assert labels in ({"c": 20}, {"a": 10, "c": 10})


@pytest.mark.parametrize("verb", ["merge", "delete"])
def test_a_tag_goes_while_others_put_it_on(cast: Cast, targets: list[dict[str, str]], verb: str) -> None:
    """Whoever puts it on is told so, or has done it before; no link is left behind, and nobody waits for nobody."""
    alice = cast.alice
    for number in range(ROUNDS):
        gone, kept = f"gone:{number}", f"kept:{number}"
        for label in (gone, kept):
            make_tag(alice, label)
        alice.post("tags/add", {"tags": [gone], "targets": targets[:10]})

        def job(turn: int, gone: str = gone, kept: str = kept) -> Any:
            if turn == 0:
                path = f"tags/{gone}"
                return alice.post(f"{path}/merge", {"into": kept}) if verb == "merge" else alice.delete(path)
            # Both tags, in both orders, on what the merge moves links of and on what it does not.
            return cast.bob.post("tags/add", {"tags": [kept, gone][:: 1 - 2 * (turn % 2)], "targets": targets[5:]})

        first, *others = at_once(3, job)
        assert first.status_code in {200, 204}, first.content
        for response in others:
            assert response.status_code in {200, 400, 409}, response.content
            if response.status_code != 200:
                assert response.json()["error"]["code"] in {"unknown_tag", "tag_gone"}
        rows = TagLink.objects.filter(workspace=alice.workspace, tag__label=kept).values_list("target_id", flat=True)
        assert len(rows) == len(set(rows))
        assert not Tag.objects.filter(workspace=alice.workspace, label=gone).exists()
    tags = set(Tag.objects.filter(workspace=alice.workspace).values_list("pk", flat=True))
    assert set(TagLink.objects.filter(workspace=alice.workspace).values_list("tag_id", flat=True)) <= tags


def test_the_same_tag_is_made_once(cast: Cast) -> None:
    found = statuses(at_once(4, lambda turn: cast.bob.post("tags", {"name": "Urgent"})))
    assert found == {201: 1, 409: 3}


def test_putting_the_same_on_at_once(cast: Cast, targets: list[dict[str, str]]) -> None:
    make_tag(cast.alice)
    responses = at_once(3, lambda turn: cast.bob.post("tags/add", {"tags": ["urgent"], "targets": targets}))
    assert statuses(responses) == {200: 3}
    assert TagLink.objects.filter(workspace=cast.alice.workspace).count() == 20
