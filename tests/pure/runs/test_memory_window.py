"""What of a conversation is kept and sent: whole turns, as every vendor takes them."""

import json
from itertools import pairwise

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from zango_ai import LLMFile, LLMMessage
from zango_ai.memory import window
from zango_ai.types import ToolRequest


def user(text):
    return LLMMessage("user", text)


def assistant(text, *calls):
    return LLMMessage("assistant", text, tuple(ToolRequest(id, name, "{}") for id, name in calls))


def result(id, text="done"):
    return LLMMessage("tool", text, tool_call_id=id)


def turn(number):
    return [user(f"q{number}"), assistant(f"a{number}")]


TOOL_TURN = [
    user("What is in stock?"),
    assistant("Let me look.", ("1", "look"), ("2", "secret")),
    result("1", "three"),
    result("2", "hidden"),
    assistant("Three."),
]


# The window


def test_the_newest_pairs_are_sent_oldest_first():
    messages = [message for number in range(5) for message in turn(number)]
    assert window.cut_window(messages, 2).messages == (*turn(3), *turn(4))
    assert window.cut_window(messages, 9).messages == tuple(messages)
    assert window.cut_window(messages, 0).messages == ()


def test_a_turn_whose_beginning_may_be_missing_is_left_out():
    messages = [user("second half"), assistant("a"), *turn(1), *turn(2)]
    assert window.cut_window(messages, 2, is_from_start=False) == window.Window((*turn(1), *turn(2)), is_full=True)
    assert window.cut_window(messages, 3, is_from_start=False) == window.Window((*turn(1), *turn(2)), is_full=False)
    assert window.cut_window(messages, 3).messages == tuple(messages)


def test_calls_and_results_stay_together_inside_the_window():
    assert window.cut_window([*turn(1), *TOOL_TURN], 1).messages == tuple(TOOL_TURN)


def test_a_turn_without_an_answer_is_not_sent_and_costs_no_place():
    messages = [*turn(1), user("?"), assistant(""), *turn(2), user("??")]
    assert window.cut_window(messages, 2).messages == (*turn(1), *turn(2))
    assert window.cut_window([user("?")], 9).messages == ()


def test_what_has_lost_its_other_half_is_not_sent():
    broken = [
        user("q"),
        result("0"),
        assistant("", ("1", "a")),
        assistant("x", ("2", "a"), ("3", "b")),
        result("3"),
        assistant("end"),
    ]
    assert window.cut_window(broken, 9).messages == (
        user("q"),
        assistant("x", ("3", "b")),
        result("3"),
        assistant("end"),
    )


def test_what_some_vendor_refuses_of_a_call_is_put_right():
    call = ToolRequest("1", "look", '{"a": ')
    said = [user("q"), LLMMessage("assistant", " ", (call, call)), result("1"), assistant("end")]
    _, asked, *_ = sent = window.cut_window(said, 1).messages
    assert len(sent) == 4
    assert asked == LLMMessage("assistant", "", (ToolRequest("1", "look", "{}"),))


# What is kept


def test_a_tool_that_is_excluded_goes_with_its_call_and_result():
    kept = window.turn_to_store(TOOL_TURN, excluded_tools={"secret"})
    assert kept == (
        user("What is in stock?"),
        assistant("Let me look.", ("1", "look")),
        result("1", "three"),
        assistant("Three."),
    )
    assert window.turn_to_store(TOOL_TURN, excluded_tools={"secret", "look"}) == (
        user("What is in stock?"),
        assistant("Let me look."),
        assistant("Three."),
    )


def test_an_id_that_is_used_again_is_another_calls():
    said = [
        user("q"),
        assistant("", ("1", "look")),
        result("1", "seen"),
        assistant("", ("1", "secret")),
        result("1", "hidden"),
        assistant("a"),
    ]
    assert window.turn_to_store(said, excluded_tools={"secret"}) == (*said[:3], assistant("a"))


def test_a_call_without_text_beside_it_leaves_nothing_where_it_is_excluded():
    said = [user("q"), assistant("", ("1", "secret")), result("1"), assistant("a")]
    assert window.turn_to_store(said, excluded_tools={"secret"}) == (user("q"), assistant("a"))


def test_text_that_stands_together_after_that_is_sent_as_one_message():
    kept = window.turn_to_store(TOOL_TURN, excluded_tools={"secret", "look"})
    assert window.cut_window(kept, 1).messages == (user("What is in stock?"), assistant("Let me look.\n\nThree."))


@pytest.mark.parametrize(
    ("text", "file", "kept"),
    [
        ("Read it.", LLMFile.from_bytes(b"x", "text/plain"), "Read it.\n[file: attachment]"),
        ("Read it.", LLMFile.from_bytes(b"x", "text/plain", "a.txt"), "Read it.\n[file: attachment] a.txt"),
        ("", LLMFile.from_url("https://example.com/b.png"), "[file: attachment] b.png"),
        ("x", LLMFile.from_bytes(b"x", "text/plain", "a\nb\x00.txt"), "x\n[file: attachment] a b .txt"),
    ],
)
def test_a_file_is_remembered_by_its_name(text, file, kept):
    assert window.turn_to_store([LLMMessage("user", text, files=(file,)), assistant("ok")])[0].content == kept


# Any history

ids = st.sampled_from("abcdef")
names = st.sampled_from(["look", "write", "secret"])
texts = st.sampled_from(["", " ", "text", "more\ntext"])
arguments = st.sampled_from(["{}", '{"a": 1}', '{"a": ', "[]", ""])
requests = st.builds(ToolRequest, ids, names, arguments)
anything = st.one_of(
    texts.map(user),
    texts.map(lambda text: LLMMessage("system", text)),
    st.builds(lambda text, made: LLMMessage("assistant", text, tuple(made)), texts, st.lists(requests, max_size=3)),
    st.builds(result, ids, texts),
)


@st.composite
def talks(draw):
    """Turns with rounds of parallel calls, as they are; and then with something dropped, doubled or displaced."""
    messages = []
    for _ in range(draw(st.integers(0, 4))):
        messages.append(user(draw(texts)))
        for _ in range(draw(st.integers(0, 2))):
            made = draw(st.lists(requests, min_size=1, max_size=3, unique_by=lambda call: call.id))
            messages.append(LLMMessage("assistant", draw(texts), tuple(made)))
            messages.extend(result(call.id) for call in draw(st.permutations(made)))
        messages.append(assistant(draw(texts)))
    for _ in range(draw(st.integers(0, 2))):
        if not messages:
            break
        place = draw(st.integers(0, len(messages) - 1))
        fault = draw(st.sampled_from(["drop", "double", "swap", "insert"]))
        if fault == "drop":
            del messages[place]
        elif fault == "double":
            messages.insert(place, messages[place])
        elif fault == "swap":
            messages[0], messages[place] = messages[place], messages[0]
        else:
            messages.insert(place, draw(anything))
    return messages


@pytest.mark.parametrize("wanted", [1, 3])
def test_the_talks_that_are_tried_have_calls_in_their_windows(wanted):
    """Else the proof below would prove nothing."""
    find(
        talks(),
        lambda talk: sum(len(message.tool_calls) for message in window.cut_window(talk, 4).messages) >= wanted,
        settings=settings(phases=[Phase.generate]),
    )


@given(talks(), st.integers(0, 6), st.sets(names))
def test_whatever_was_kept_what_is_sent_satisfies_every_vendors_rules(kept, pairs, excluded):
    sent = window.cut_window(window.turn_to_store(kept, excluded_tools=excluded), pairs).messages
    assert sum(message.role == "user" for message in sent) <= max(pairs, 0)
    spoken = [message.role for message in sent if message.role != "system"]  # which Anthropic takes apart
    assert not spoken or spoken[0] == "user"
    assert not sent or sent[-1].role == "assistant"
    waiting: set[str] = set()
    for message in sent:
        assert message.content.strip() or message.tool_calls or message.role == "tool"
        if message.role == "tool":
            assert message.tool_call_id in waiting
            waiting.remove(message.tool_call_id)
        else:
            assert not waiting  # every call has its result before anything else is said
            waiting = {call.id for call in message.tool_calls}
            assert len(waiting) == len(message.tool_calls)
        assert not {call.name for call in message.tool_calls} & excluded
        assert all(isinstance(json.loads(call.arguments), dict) for call in message.tool_calls)
    assert not waiting
    for before, after in pairwise(sent):
        plain = not (before.tool_calls or after.tool_calls)
        assert not (before.role == after.role and before.role in {"user", "assistant"} and plain)


@given(talks())
def test_nothing_that_is_kept_is_changed_by_being_sent(kept):
    before = list(kept)
    window.cut_window(kept, 3)
    assert kept == before
