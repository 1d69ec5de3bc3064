"""``prompts.paired``: of tool calls and their results no half is left alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conversations.prompts import paired
from llm.types import ChatMessage, ToolCall


def user(text: str = "Hello") -> ChatMessage:
    return ChatMessage("user", text)


def calls(*ids: str) -> ChatMessage:
    return ChatMessage("assistant", tool_calls=tuple(ToolCall(id, "f", "{}") for id in ids))


def result(call_id: str, text: str = "Done.") -> ChatMessage:
    return ChatMessage("tool", text, tool_call_id=call_id)


def stub(call_id: str) -> ChatMessage:
    return ChatMessage("tool", "This tool was not run.", tool_call_id=call_id, is_error=True)


def test_what_is_whole_stays_as_it_is() -> None:
    whole = [user(), calls("a", "b"), result("b"), result("a"), ChatMessage("assistant", "So."), user()]
    assert paired(whole) == whole
    assert paired([]) == []


def test_a_missing_result_is_told_where_it_would_be() -> None:
    assert paired([calls("a", "b"), user()]) == [calls("a", "b"), stub("a"), stub("b"), user()]
    assert paired([calls("a", "b"), result("b"), user()]) == [calls("a", "b"), result("b"), stub("a"), user()]
    assert paired([calls("a"), calls("b"), result("b")]) == [calls("a"), stub("a"), calls("b"), result("b")]
    assert paired([calls("a")]) == [calls("a"), stub("a")]


def test_a_result_without_its_call_is_left_out() -> None:
    assert paired([result("a"), user(), result("b")]) == [user()]
    assert paired([calls("a"), result("x"), result("a"), result("a")]) == [calls("a"), result("a")]
    assert paired([calls("a"), user(), result("a")]) == [calls("a"), stub("a"), user()]


turns = st.lists(
    st.one_of(
        st.just(user()),
        st.lists(st.sampled_from("abc"), max_size=3, unique=True).map(lambda ids: calls(*ids)),
        st.sampled_from("abcx").map(result),
    ),
    max_size=12,
)


@given(turns)
def test_a_vendor_takes_the_prompt(given_turns: list[ChatMessage]) -> None:
    whole = paired(given_turns)
    assert paired(whole) == whole
    assert [turn for turn in whole if turn.role != "tool"] == [turn for turn in given_turns if turn.role != "tool"]
    waiting: list[str] = []
    for turn in [*whole, user()]:
        if turn.role == "tool":
            waiting.remove(turn.tool_call_id)
        else:
            assert waiting == []
            waiting = [call.id for call in turn.tool_calls]
