"""Images are kept apart from their messages, and read for a prompt, or for whoever reads the message, and only then."""

from __future__ import annotations

import base64
import os
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations import attachments
from conversations.models import Conversation, Message, MessageImage
from llm.models import LLM
from synapscale.common.tenancy import fleet_wide
from tests.api.asking import Api, error_of, make_answer, make_conversation, messages_of, picture
from tests.catalogue import make_llm
from tests.conversations.calling import ask
from tests.people import Person, fund
from tests.providers.standins import StandIn

TINY = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def image(data: str = "") -> dict[str, Any]:
    return {"type": "image", "data": data or picture()}


def stored_image(message: Message, position: int, data: bytes, *, width: int = 3, height: int = 2) -> dict[str, Any]:
    """An image that has come, and what its message says of it."""
    MessageImage.objects.create(workspace_id=message.workspace_id, message=message, position=position, data=data)
    return {
        "type": "image", "media_type": "image/png", "width": width, "height": height,
        "bytes": len(data), "position": position,
    }  # fmt: skip


def with_images(chat: Conversation, *data: bytes, content: str = "Look.", **measures: int) -> Message:
    """A question with images, and its answer."""
    question = make_answer(chat, content, role="user")
    question.attachments = [stored_image(question, n, one, **measures) for n, one in enumerate(data)]
    question.save(update_fields=["attachments"])
    make_answer(chat, "Seen.", reply_to=question)
    return question


def images_in(provider: StandIn, which: int = -1) -> list[str]:
    """The data of the images that a provider was sent, in order."""
    parts = [part for turn in provider.requests[which].body["messages"] for part in turn["content"]]
    return [
        part["image_url"]["url"].partition(",")[2] for part in parts if isinstance(part, dict) and "image_url" in part
    ]


# --- Kept apart -------------------------------------------------------------------------------------------------------


def test_an_image_is_kept_apart_and_sent_again_with_the_next_question(
    api: Api, alice: Person, bob: Person, charlie: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    data = [picture(), picture(4, 5)]
    answer = api.ask(alice, chat, "Look.", llm=str(llm), attachments=[image(one) for one in data])
    assert answer.status_code == 201, answer.text
    question = Message.objects.get(workspace=alice.workspace, pk=answer.json()["message"]["reply_to"])
    assert [set(item) for item in question.attachments] == [
        {"type", "media_type", "width", "height", "bytes", "position"}
    ] * 2
    rows = MessageImage.objects.filter(workspace=alice.workspace, message=question).order_by("position")
    assert [base64.b64encode(row.data).decode() for row in rows] == data

    assert api.ask(alice, chat, "And?", llm=str(llm)).status_code == 201
    assert images_in(paid) == data
    shown = api.get(alice, f"{messages_of(chat)}/{question.pk}").json()["attachments"]
    assert [(item["data"], item["width"]) for item in shown] == [(data[0], 3), (data[1], 4)]
    for stranger in (bob, charlie):
        error_of(api.get(stranger, f"{messages_of(chat)}/{question.pk}"), 404, "not_found")


def test_a_list_of_messages_says_what_is_attached(api: Api, alice: Person, chat: Conversation) -> None:
    for _ in range(3):
        with_images(chat, b"x" * 1000)
    results = api.get(alice, messages_of(chat)).json()["results"]
    assert [row["attachments"] for row in results if row["role"] == "user"] == [
        [{"type": "image", "media_type": "image/png", "width": 3, "height": 2}]
    ] * 3


@pytest.mark.django_db
def test_a_message_without_images_asks_for_none(alice: Person, llm: LLM, house_keys: StandIn) -> None:
    fund(alice.workspace, "1")
    chat = make_conversation(alice)
    make_answer(chat, "Hi.")
    with CaptureQueriesContext(connection) as queries:
        ask(alice, chat)
    assert not any("message_images" in query["sql"] for query in queries)


# --- Read for the turns that fit --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_only_the_images_of_turns_that_fit_are_read(alice: Person, house_keys: StandIn) -> None:
    """A turn that is too long ago for the context window keeps its megabytes on disk."""
    fund(alice.workspace, "10")
    make_llm("anthropic", "small", context_window=4000, max_output_tokens=100)
    chat = make_conversation(alice)
    for content in ("first", "second", "third"):
        with_images(chat, content.encode(), content=content, width=1092, height=1092)  # 1,590 tokens each
    with CaptureQueriesContext(connection) as queries:
        request = ask(alice, chat, llm="anthropic/small").request
    assert [turn.content for turn in request.messages] == ["second", "Seen.", "third", "Seen.", "Hello"]
    assert [[image.data for image in turn.images] for turn in request.messages if turn.images] == [
        [b"second"],
        [b"third"],
    ]
    assert sum("message_images" in query["sql"] for query in queries) == 1
    assert not any(image.source for turn in request.messages for image in turn.images)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"MAX_PROMPT_IMAGES": 5}, ["a0", "a1", "b0", "b1"]),
        ({"MAX_PROMPT_IMAGES": 4}, ["a0", "b0", "b1"]),
        ({"MAX_PROMPT_IMAGES": 3}, ["b0", "b1"]),
        ({"MAX_PROMPT_IMAGES": 1}, []),
        ({"MAX_PROMPT_BYTES": 8 + 68}, ["a0", "a1", "b0", "b1"]),
        ({"MAX_PROMPT_BYTES": 7 + 68}, ["a0", "b0", "b1"]),
        ({"MAX_PROMPT_BYTES": 3 + 68}, ["b0"]),
        ({"MAX_PROMPT_BYTES": 68}, []),
    ],
)
def test_older_images_are_left_out_beyond_what_a_prompt_may_have(
    alice: Person,
    llm: LLM,
    house_keys: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, int],
    kept: list[str],
) -> None:
    """The new message's come first, then the latest; the words stay."""
    fund(alice.workspace, "1")
    chat = make_conversation(alice)
    with_images(chat, b"a0", b"a1", content="a")
    with_images(chat, b"b0", b"b1", content="b")
    for name, value in limits.items():
        monkeypatch.setattr(attachments, name, value)
    new = attachments.parse({"type": "image", "data": TINY})
    assert new["bytes"] == 68
    request = ask(alice, chat, attachments=[new]).request
    assert [turn.content for turn in request.messages] == ["a", "Seen.", "b", "Seen.", "Hello"]
    *_, last = request.messages
    assert [image.data.decode() for turn in request.messages[:-1] for image in turn.images] == kept
    assert [len(image.data) for image in last.images] == [68]


def test_too_much_in_one_message_is_refused(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(base64.b64decode(picture()))
    monkeypatch.setattr(attachments, "MAX_PROMPT_BYTES", 2 * size)
    two, three = [[image()] * count for count in (2, 3)]
    error = error_of(api.ask(alice, chat, llm=str(llm), attachments=three), 422, "images_too_large")
    assert error["details"] == {"attachments": ["The images of a request have at most 0 MB together."]}
    one_shot = {"llm": str(llm), "messages": [{"role": "user", "content": "x", "attachments": three}]}
    error_of(api.post(alice, "llm/chat", one_shot), 422, "images_too_large")
    assert api.ask(alice, chat, llm=str(llm), attachments=two).status_code == 201

    monkeypatch.setattr(attachments, "MAX_PROMPT_BYTES", 10**9)
    monkeypatch.setattr(attachments, "MAX_PROMPT_IMAGES", 2)
    error = error_of(api.ask(alice, chat, llm=str(llm), attachments=three), 422, "too_many_images")
    assert error["details"] == {"attachments": ["A request has at most 2 images."]}
    assert len(paid.requests) == 1


@pytest.mark.django_db(transaction=True)
def test_twenty_messages_of_megabytes_are_not_read_into_memory(alice: Person, llm: LLM, house_keys: StandIn) -> None:
    import tracemalloc

    fund(alice.workspace, "1")
    chat = make_conversation(alice)
    for _ in range(20):
        with_images(chat, os.urandom(5 * 1024 * 1024))
    tracemalloc.start()
    assert len(alice.get(messages_of(chat)).json()["results"]) == 40
    _, listing = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    ask(alice, chat)
    _, asking = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert listing < 10 * 1024**2
    assert asking < 60 * 1024**2  # four images, as the database hands them over and as they are kept


# --- Those that were there before -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_images_that_were_stored_with_their_message_are_moved(alice: Person) -> None:
    migration = import_module("conversations.migrations.0006_move_images")
    chat = make_conversation(alice)
    data = [picture(), picture(4, 5)]
    before = [
        {"type": "image", "media_type": "image/png", "width": 3, "height": 2, "data": data[0]},
        {"type": "image", "media_type": "image/png", "width": 4, "height": 5, "data": data[1]},
    ]
    message = make_answer(chat, "Look.", role="user", attachments=before)
    plain = make_answer(chat, "Nothing.", role="user")

    with fleet_wide():
        migration.move(apps, None)
    message.refresh_from_db()
    assert attachments.with_data(message) == before
    assert [item["bytes"] for item in message.attachments] == [len(base64.b64decode(one)) for one in data]
    assert "data" not in message.attachments[0]
    with fleet_wide():
        migration.move_back(apps, None)
    message.refresh_from_db()
    plain.refresh_from_db()
    assert (message.attachments, plain.attachments) == (before, [])
    assert not MessageImage.objects.filter(workspace=alice.workspace).exists()


@pytest.mark.django_db
def test_an_image_that_a_server_of_an_older_version_stores_meanwhile_is_read_too(
    alice: Person, llm: LLM, house_keys: StandIn
) -> None:
    fund(alice.workspace, "1")
    chat, data = make_conversation(alice), picture()
    before = [{"type": "image", "media_type": "image/png", "width": 3, "height": 2, "data": data}]
    question = make_answer(chat, "Look.", role="user", attachments=before)
    first, *_ = ask(alice, chat).request.messages
    assert [image.data for image in first.images] == [base64.b64decode(data)]
    assert attachments.with_data(question) == before
    assert attachments.summary(before[0]) == {"type": "image", "media_type": "image/png", "width": 3, "height": 2}
