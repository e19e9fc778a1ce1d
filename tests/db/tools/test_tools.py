"""An agent calls functions of the application's: what is called, what the model is told, what is logged."""

import json
import logging
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from patients.models import Patient

from tests.build import DEFAULT_MODELS, make_agent_with, make_provider
from tests.schemas import active_schema
from zango_ai import ToolParam, get_agent, tool
from zango_ai.exceptions import LLMAPIError
from zango_ai.models import Invocation, InvocationRound, ToolCall
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("north")

KINDS = ["openai", "azure", "anthropic", "gemini", "bedrock", "mistral"]


@tool(name="get_item", description="Look up an item.", section="items")
def get_item(item_id: int = ToolParam(description="The item's id")) -> dict:
    return {"id": item_id, "price": Decimal("12.50"), "since": date(2026, 11, 25)}


@tool(description="Name the schema in force.")
def name_schema() -> str:
    return active_schema()


@tool(description="Fail.")
def explode(secret: str) -> dict:
    raise RuntimeError(f"the password is {secret}")


def told(model, request=-1):
    """What the model was told of its calls in a request, by id."""
    return {
        message["tool_call_id"]: message["content"]
        for message in model.requests[request].body["messages"]
        if message["role"] == "tool"
    }


def calls():
    return list(ToolCall.objects.order_by("id").values_list("tool_name", "status"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_provider_calls_a_tool_and_gets_its_result(model, kind):
    provider = make_provider(model, kind=kind, default_model=DEFAULT_MODELS.get(kind, "gpt-4o-mini"))
    make_agent_with(model, get_item, provider=provider)
    model.script(Reply(calls=[Call("get_item", {"item_id": 7}, id="call_Ab-9_x")]), "It costs 12.50.")
    response = get_agent("helper").run("What does item 7 cost?")
    assert response.content == "It costs 12.50."
    assert response.stop_reason == "end_turn"
    (call,) = response.tool_calls
    expected = {"id": 7, "price": "12.50", "since": "2026-11-25"}
    assert (call.name, call.input, call.result, call.status) == ("get_item", {"item_id": 7}, expected, "success")
    assert "12.50" in model.requests[1].raw.decode()
    row = Invocation.objects.get()
    assert (row.status, row.rounds_count) == ("success", 2)
    assert (response.usage.input_tokens, response.usage.output_tokens) == (row.input_tokens, row.output_tokens)
    first, second = row.rounds.all()
    assert first.request_tools[0]["name"] == "get_item"
    assert first.response_tool_calls[0]["name"] == "get_item"
    written = ToolCall.objects.get()
    assert written.round == first
    assert (written.tool_name, written.status, written.arguments) == ("get_item", "success", {"item_id": 7})
    assert written.result == expected
    assert written.duration_ms is not None
    assert second.response_content == "It costs 12.50."


def test_the_schema_that_is_sent_tells_the_parameters(model):
    make_agent_with(model, get_item)
    get_agent("helper").run("hi")
    assert model.requests[0].body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_item",
                "description": "Look up an item.",
                "parameters": {
                    "type": "object",
                    "properties": {"item_id": {"type": "integer", "description": "The item's id"}},
                    "required": ["item_id"],
                    "additionalProperties": False,
                },
            },
        }
    ]


def test_several_calls_are_made_in_order_and_their_ids_come_back(model):
    make_agent_with(model, get_item, name_schema)
    long_id = "call_" + "s" * 4600  # as Gemini's, with a signature inside
    model.script(
        Reply("Let me look.", calls=[Call("get_item", {"item_id": 1}, id="a"), Call("name_schema", id=long_id)]),
        Reply(calls=[Call("get_item", {"item_id": 2}, id="a")]),  # the same id in another round
        "done",
    )
    response = get_agent("helper").run("hi")
    assert [(c.id, c.name) for c in response.tool_calls] == [
        ("a", "get_item"),
        (long_id, "name_schema"),
        ("a", "get_item"),
    ]
    assert json.loads(told(model, 1)["a"])["id"] == 1
    assert told(model, 1)[long_id] == "north"
    assistant = model.requests[1].body["messages"][-3]
    assert (assistant["content"], [call["id"] for call in assistant["tool_calls"]]) == (
        "Let me look.",
        ["a", long_id],
    )
    assert ToolCall.objects.get(tool_name="name_schema").call_id == long_id


def test_two_calls_with_one_id_or_none_are_told_apart(model):
    make_agent_with(model, get_item)
    model.script(Reply(calls=[Call("get_item", {"item_id": n}, id="same") for n in (1, 2)]), "done")
    response = get_agent("helper").run("hi")
    assert response.content == "done"
    first, second = response.tool_calls
    assert first.id != second.id
    assert [json.loads(each)["id"] for each in told(model).values()] == [1, 2]


@pytest.mark.parametrize(
    ("call", "status", "words"),
    [
        (Call("get_item", '{"item_id": 7', id="x"), "invalid_arguments", "not valid JSON"),
        (Call("get_item", "[7]", id="x"), "invalid_arguments", "not a JSON object"),
        (Call("get_item", {"item_id": "seven"}, id="x"), "invalid_arguments", "item_id"),
        (Call("get_item", {}, id="x"), "invalid_arguments", "Field required"),
        (Call("get_item", {"item_id": 7, "and": 1}, id="x"), "invalid_arguments", "and"),
        (Call("get_item", '{"item_id": 7, "item_id": 8}', id="x"), "invalid_arguments", "twice"),
        (Call("get_item", "[" * 400, id="x"), "invalid_arguments", "not valid JSON"),
        (Call("nothing_like_it", {}, id="x"), "denied", "no tool 'nothing_like_it'"),
        (Call("explode", {"secret": "x"}, id="x"), "denied", "no tool 'explode'"),  # not on the agent's list
        (Call("", {}, id="x"), "denied", "no tool ''"),
        (Call("drop table; --\x00\ud800" + "x" * 5000, {}, id="x"), "denied", "no tool"),
    ],
)
def test_a_call_that_cannot_be_made_is_answered_and_written_down_and_never_made(model, call, status, words):
    make_agent_with(model, get_item)
    model.script(Reply(calls=[call]), "I see.")
    response = get_agent("helper").run("hi")
    assert response.content == "I see."
    assert response.tool_calls[0].status == status
    answer = json.loads(told(model)["x"])
    assert answer["error"] == status
    assert words in json.dumps(answer)
    row = ToolCall.objects.get()
    assert row.status == status
    assert words in row.error_message
    assert Invocation.objects.get().status == "success"


def test_an_exception_reaches_the_model_as_a_sentence_and_staff_as_a_traceback(model, caplog):
    make_agent_with(model, explode)
    model.script(Reply(calls=[Call("explode", {"secret": "hunter2"}, id="x")]), "Sorry.")
    with caplog.at_level(logging.DEBUG):
        response = get_agent("helper").run("hi")
    assert response.content == "Sorry."
    answer = told(model)["x"]
    assert "hunter2" not in answer
    assert "RuntimeError" not in answer
    row = ToolCall.objects.get()
    assert row.status == "error"
    assert "RuntimeError: the password is hunter2" in row.error_message
    assert 'raise RuntimeError(f"the password is {secret}")' in row.traceback


def test_rounds_of_tool_calls_have_an_end_and_then_the_model_answers_without_tools(model):
    make_agent_with(model, get_item, max_tool_rounds=2)
    again = Reply(calls=[Call("get_item", {"item_id": 1})])
    model.script(again, again, "Enough.")
    response = get_agent("helper").run("hi")
    assert (response.content, response.stop_reason) == ("Enough.", "max_tool_rounds")
    assert [("tools" in request.body) for request in model.requests] == [True, True, False]
    assert len(response.tool_calls) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_question_without_tools_is_one_that_every_vendor_takes(model, kind):
    make_agent_with(model, get_item, provider=make_provider(model, kind=kind))
    model.script(Reply(calls=[Call("get_item", {"item_id": 1})]), "Enough.")
    response = get_agent("helper").run("hi", max_tool_rounds=1)
    assert (response.content, response.stop_reason) == ("Enough.", "max_tool_rounds")


def test_a_model_that_calls_on_where_it_was_given_no_tools_is_not_obeyed(model):
    make_agent_with(model, get_item)
    again = Reply("Once more.", calls=[Call("get_item", {"item_id": 1})])
    model.script(again, again, "never asked")
    response = get_agent("helper").run("hi", max_tool_rounds=1)
    assert (response.content, response.stop_reason) == ("Once more.", "max_tool_rounds")
    assert calls() == [("get_item", "success"), ("get_item", "denied")]
    assert len(model.requests) == 2


def test_a_run_may_be_given_no_tools_at_all(model):
    make_agent_with(model, get_item)
    assert get_agent("helper").run("hi", max_tool_rounds=0).stop_reason == "end_turn"
    assert "tools" not in model.requests[0].body
    for wrong in (-1, True):
        with pytest.raises(ValueError, match="max_tool_rounds"):
            get_agent("helper").run("hi", max_tool_rounds=wrong)


def test_a_tool_that_was_taken_off_the_list_is_not_called(model):
    agent = make_agent_with(model, get_item)
    agent.tools.clear()
    model.script(Reply(calls=[Call("get_item", {"item_id": 1})]), "done")
    assert get_agent("helper").run("hi").tool_calls[0].status == "denied"


def test_a_failure_of_the_provider_after_a_tool_leaves_both_on_the_log(model):
    make_agent_with(model, get_item)
    model.script(Reply(calls=[Call("get_item", {"item_id": 1})]), Reply("no", status=400))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    assert calls() == [("get_item", "success")]
    assert list(InvocationRound.objects.values_list("status", flat=True)) == ["success", "failed"]


def test_all_rounds_are_billed(model):
    agent = make_agent_with(model, get_item)
    agent.provider.models.create(model_id="gpt-4o-mini", input_cost_per_mtok=0, output_cost_per_mtok=100_000)
    model.script(
        Reply(calls=[Call("get_item", {"item_id": 1})], input_tokens=5, output_tokens=3),
        Reply("done", input_tokens=50, output_tokens=4),
    )
    response = get_agent("helper").run("hi")
    assert (response.cost_usd, response.usage.input_tokens, response.usage.output_tokens) == (0.7, 55, 7)


def test_json_binds_the_final_answer_only(model):
    schema = {
        "type": "object",
        "properties": {"price": {"type": "string"}},
        "required": ["price"],
        "additionalProperties": False,
    }
    make_agent_with(model, get_item, output_schema="json", output_json_schema=schema, output_retries=1)
    model.script(
        Reply("I look first, and this is no JSON.", calls=[Call("get_item", {"item_id": 7})]),
        '{"cost": 1}',
        Reply(calls=[Call("get_item", {"item_id": 8})]),
        '{"price": "12.50"}',
    )
    response = get_agent("helper").run("hi")
    assert response.parsed_content == {"price": "12.50"}
    assert [call.input for call in response.tool_calls] == [{"item_id": 7}, {"item_id": 8}]
    assert model.requests[0].body["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize("kind", ["gemini", "mistral", "bedrock"])
def test_json_is_asked_for_in_words_where_the_vendor_takes_no_form_beside_tools(model, kind):
    schema = {"type": "object", "properties": {"price": {"type": "string"}}, "required": ["price"]}
    make_agent_with(
        model, get_item, provider=make_provider(model, kind=kind), output_schema="json", output_json_schema=schema
    )
    model.script(Reply(calls=[Call("get_item", {"item_id": 7})]), '{"price": "12.50"}')
    assert get_agent("helper").run("hi").parsed_content == {"price": "12.50"}
    assert "JSON Schema" in model.requests[0].raw.decode()
    assert "response_mime_type" not in model.requests[0].raw.decode()
    assert "response_format" not in model.requests[0].body


def test_a_conversation_remembers_calls_with_their_results_but_for_what_is_excluded(model):
    make_agent_with(model, get_item, forgettable, short_term_memory=True)
    model.script(
        Reply("Both.", calls=[Call("get_item", {"item_id": 7}, id="a"), Call("forgettable", {}, id="b")]),
        "done",
        "again",
    )
    session_id = get_agent("helper").run("first").session_id
    get_agent("helper").run("second", session_id=session_id)
    sent = model.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "assistant", "user"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["a"]
    assert sent[1]["content"] == "Both."
    assert "for nobody" not in str(sent)


@tool(description="What nobody is to remember.", memory_policy="exclude")
def forgettable() -> str:
    return "for nobody"


def test_odd_names_and_arguments_do_not_poison_the_conversation(model):
    make_agent_with(model, get_item, short_term_memory=True)
    model.script(Reply(calls=[Call("what is: this?", '{"broken', id="a")]), "sorry", "fine")
    session_id = get_agent("helper").run("first").session_id
    assert get_agent("helper").run("second", session_id=session_id).content == "fine"
    assert ToolCall.objects.get().tool_name == "what is: this?"
    assert ToolCall.objects.get().arguments == '{"broken'


@tool(description="Whatever can be returned.")
def returning(what: str) -> object:
    return {
        "model": lambda: Patient(name="Ada", born=date(1957, 3, 9)),
        "query": Patient.objects.all,
        "itself": lambda: (lambda me: me.append(me) or me)([]),
        "nan": lambda: {"x": float("nan")},
        "nothing": lambda: None,
        "text": lambda: "as it is",
        "empty": lambda: "",
        "uuid": lambda: {UUID(int=7): {1, 2}},
        "surrogate": lambda: {"x": "\ud800\x00"},
        "large": lambda: {"rows": [{"n": n, "text": "x" * 50} for n in range(5_000)]},
    }[what]()


@pytest.mark.parametrize(
    ("what", "status", "expected"),
    [
        ("model", "error", "tool failed"),
        ("query", "error", "tool failed"),
        ("itself", "error", "tool failed"),
        ("nan", "success", '{"x": "NaN"}'),
        ("nothing", "success", "null"),
        ("text", "success", "as it is"),
        ("empty", "success", '""'),
        ("uuid", "success", '{"00000000-0000-0000-0000-000000000007": [1, 2]}'),
        ("surrogate", "success", '{"x": "\ufffd'),
        ("large", "success", "items are missing"),
    ],
)
def test_what_a_tool_returns_is_json_or_an_error(model, what, status, expected):
    make_agent_with(model, returning)
    model.script(Reply(calls=[Call("returning", {"what": what}, id="x")]), "done")
    assert get_agent("helper").run("hi").tool_calls[0].status == status
    assert expected in told(model)["x"]
    assert ToolCall.objects.get().status == status


def test_a_result_that_is_too_large_is_cut_between_values_and_says_what_is_missing(model, settings):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "MAX_TOOL_RESULT_CHARS": 2_000}
    make_agent_with(model, returning)
    model.script(Reply(calls=[Call("returning", {"what": "large"}, id="x")]), "done")
    get_agent("helper").run("hi")
    text = told(model)["x"]
    assert len(text) <= 2_000
    *rows, note = json.loads(text)["rows"]
    assert rows == [{"n": n, "text": "x" * 50} for n in range(len(rows))]
    assert note == f"… [cut: {5_000 - len(rows)} of 5000 items are missing]"


# Too many


def test_an_answer_with_thousands_of_calls_has_a_few_made_and_the_rest_answered(model, north):
    make_agent_with(model, get_item)
    model.script(Reply(calls=[Call("get_item", {"item_id": n}, id=f"call-{n}") for n in range(2_000)]), "done")
    response = get_agent("helper").run("hi")
    assert response.content == "done"
    statuses = [call.status for call in response.tool_calls]
    assert statuses == ["success"] * 32 + ["denied"] * 1_968
    assert "first 32" in response.tool_calls[-1].result["message"]
    told = [message for message in model.requests[1].body["messages"] if message["role"] == "tool"]
    assert [message["tool_call_id"] for message in told] == [f"call-{n}" for n in range(2_000)]
    rows = ToolCall.objects.order_by("position")
    assert [row.status for row in rows] == statuses
    assert (rows.last().arguments, rows.last().position) == ({"item_id": 1_999}, 2_000)
    assert "first 32" in rows.last().error_message


def test_calls_that_are_too_many_cost_one_statement(model, north):
    make_agent_with(model, get_item)
    model.script(Reply(calls=[Call("nothing_like_it")] * 32), "done", Reply(calls=[Call("x")] * 500), "done")
    with CaptureQueriesContext(connection) as few:
        get_agent("helper").run("hi")
    with CaptureQueriesContext(connection) as many:
        get_agent("helper").run("hi")
    assert len(many) <= len(few) + 1


def test_how_many_calls_are_made_can_be_set(model, north, settings):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "MAX_TOOL_CALLS_PER_ROUND": 1}
    make_agent_with(model, get_item)
    model.script(Reply(calls=[Call("get_item", {"item_id": n}) for n in (1, 2)]), "done")
    assert [call.status for call in get_agent("helper").run("hi").tool_calls] == ["success", "denied"]
