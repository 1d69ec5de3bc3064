"""How long tags take with 100,000 of them: ``python -m benchmarks.tags``. See ``benchmarks/README.md``."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from benchmarks.harness import Case, print_table, round_trip, scratch_database, set_up

TAGS = 100_000
LINKS = 100_000
CONVERSATIONS = 20_000
TOPICS = 1_000
LIMIT_MS = 200.0
MERGES = {1_000: 5, 10_000: 3}
"""How many links a tag has that is merged, and how many such tags there are: each merge uses one up."""

if TYPE_CHECKING:
    from workspaces.models import Workspace


# --- Rows -----------------------------------------------------------------------------------------------------------


def fill() -> tuple[Workspace, str]:
    """The workspace, and a token of its owner."""
    from django.db import connection

    from conversations.models import Conversation
    from tagging.models import Tag, TagLink
    from workspaces.models import AccessToken, Membership, User, Workspace

    workspace = Workspace.objects.create(slug="bench", name="Bench", kind=Workspace.Kind.COLLABORATIVE)
    user = User.objects.create_user("owner@example.org")
    Membership.objects.create(workspace=workspace, user=user, role=Membership.Role.OWNER)
    _, token = AccessToken.issue(user=user, workspace=workspace, name="bench")
    chats = Conversation.objects.bulk_create(
        (Conversation(workspace=workspace, user=user, title=f"Talk {n}") for n in range(CONVERSATIONS)), batch_size=2000
    )

    def tag(name: str, value: str, category: str = "") -> Tag:
        return Tag(
            workspace=workspace, name=name, value=value, label=f"{name}:{value}", category=category, created_by=user
        )

    merged = [tag(f"merge {size}", str(n)) for size, count in MERGES.items() for n in range(count)]
    kept = [tag(f"kept {size}", str(n)) for size, count in MERGES.items() for n in range(count)]
    topics = [tag("topic", f"t{n:04}", "topics") for n in range(TOPICS)]
    others = [tag("customer", f"c{n:06}", f"region {n % 20}") for n in range(TAGS - len(merged + kept + topics))]
    Tag.objects.bulk_create([*merged, *kept, *topics, *others], batch_size=5000)

    def link(one: Tag, number: int) -> TagLink:
        chat = chats[number % CONVERSATIONS]
        return TagLink(workspace=workspace, tag=one, target_type="conversation", target_id=chat.pk, created_by=user)

    links = [link(topics[n % TOPICS], n) for n in range(CONVERSATIONS)]
    sizes = [size for size, count in MERGES.items() for _ in range(count)]
    for one, size in zip([*merged, *kept], [*sizes, *sizes], strict=True):
        # Half of what carries the one that is merged carries the one that stays as well.
        links += [link(one, n + (size // 2 if one in kept else 0)) for n in range(size)]
    links += [link(others[n * 2], n) for n in range(LINKS - len(links))]
    TagLink.objects.bulk_create(links, batch_size=5000)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as a server does by itself after a while
    print(f"{TAGS:,} tags, {len(links):,} links, {CONVERSATIONS:,} conversations in one workspace")
    return workspace, token


# --- Cases ----------------------------------------------------------------------------------------------------------


def cases(workspace: Workspace, token: str) -> list[Case]:
    from django.test import Client

    from conversations.models import Conversation

    client, headers = Client(), {"Authorization": f"Bearer {token}"}
    chat = Conversation.objects.filter(workspace=workspace).first()
    assert chat is not None

    def get(path: str, **query: str) -> Callable[[], Any]:
        address = f"/api/v1/{path}?{urlencode(query)}"
        return lambda: client.get(address, headers=headers)

    def merge(size: int) -> Callable[[], Any]:
        left = iter(range(MERGES[size]))

        def call() -> Any:
            number = next(left)
            body = {"into": f"kept {size}:{number}"}
            address = f"/api/v1/tags/merge {size}:{number}/merge"
            return client.post(address, body, content_type="application/json", headers=headers)

        return call

    deep = base64.b64encode(urlencode({"p": f"customer:c{TAGS // 2:06}"}).encode()).decode()
    return [
        Case("SELECT 1", round_trip, runs=200),
        Case("one conversation by its key, through the API", get(f"conversations/{chat.pk}")),
        Case("tags: first page, with counts", get("tags")),
        Case("tags: a page of 200, with counts", get("tags", limit="200")),
        Case("tags: a page in the middle", get("tags", cursor=deep)),
        Case("tags: by name, which 99% have", get("tags", name="customer")),
        Case("tags: by value", get("tags", value="c050000")),
        Case("tags: by category, which 5% have", get("tags", category="region 7")),
        Case("tags: by a category that none has", get("tags", category="none")),
        Case("tags: search that many match", get("tags", search="r:c05")),
        Case("tags: search that one matches", get("tags", search="c09876")),
        Case("tags: search that none matches", get("tags", search="zzz")),
        Case("autocomplete: “cust”", get("tags/autocomplete", q="cust")),
        Case("autocomplete: “customer:c05”", get("tags/autocomplete", q="customer:c05")),
        Case("autocomplete: “c0500”, a value", get("tags/autocomplete", q="c0500")),
        Case("autocomplete: what none begins like", get("tags/autocomplete", q="zzz")),
        Case("conversations: a tag that 20 carry", get("conversations", tag="topic:t0500")),
        Case("conversations: a tag that 10,000 carry", get("conversations", tag="kept 10000:0")),
        Case("conversations: topic:*, which all carry", get("conversations", tag="topic:*")),
        Case("conversations: topic:t05*, which 2,000 carry", get("conversations", tag="topic:t05*")),
        Case("conversations: two tags", lambda: client.get(
            "/api/v1/conversations?tag=topic:*&tag=kept%2010000:0", headers=headers
        )),
        Case("links: first page", get("tag-links")),
        Case("links: of one conversation", get("tag-links", target_id=str(chat.pk))),
        Case("links: what is suggested (nothing)", get("tag-links", state="suggested")),
        *(
            Case(f"merge of a tag with {size:,} links", merge(size), runs=count)
            for size, count in MERGES.items()
        ),
    ]  # fmt: skip


def main() -> int:
    """The table; 1 when something takes longer than it may."""
    set_up()
    with scratch_database():
        measured = cases(*fill())
        for case in measured:
            case.measure()
        slow = print_table(measured, limit_ms=LIMIT_MS)
    for name in slow:
        print(f"more than {LIMIT_MS:.0f} ms: {name}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
