"""The local model server calls tools in each vendor's form, and refuses what the vendor refuses."""

import copy
import json

import httpx
import pytest

from zango_ai.providers import litellm_import
from zango_ai.testing import Call, ModelServer, Reply

KINDS = ["openai", "anthropic", "gemini", "bedrock"]
QUESTION = {"role": "user", "content": "Where is Ada?"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Look it up.",
            "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
    }
    for name in ("find_patient", "list_beds")
]
TWO_CALLS = Reply(calls=[Call("find_patient", {"name": "Ada"}, id="id_1"), Call("list_beds", id="id_2")])


def complete(model, kind, messages=(QUESTION,), **arguments):
    """One question through litellm, as it is asked from the providers' floor."""
    targets = {
        "openai": {"model": "openai/gpt-4o-mini", "api_base": model.openai_base},
        "anthropic": {"model": "anthropic/claude-sonnet-4-5", "api_base": model.anthropic_base},
        "gemini": {"model": "gemini/gemini-2.5-flash", "api_base": model.gemini_base},
        "bedrock": {
            "model": "bedrock/converse/anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws_bedrock_runtime_endpoint": model.url,
            "aws_access_key_id": "key",
            "aws_secret_access_key": "secret",
            "aws_region_name": "eu-central-1",
        },
    }
    target = targets[kind] | ({} if kind == "bedrock" else {"api_key": "sk-test"})
    tools = copy.deepcopy(TOOLS)  # litellm takes pieces out of it for Gemini
    arguments = {"tools": tools, "max_tokens": 50, "max_retries": 0, "timeout": 60} | arguments
    return litellm_import.load().completion(messages=list(messages), **target, **arguments)


def called(reply):
    return [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in reply.choices[0].message.tool_calls
    ]


def history(reply, results):
    """The question, the model's calls, and what the first ``results`` of them gave."""
    calls = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for id, name, arguments in called(reply)
    ]
    answers = [{"role": "tool", "tool_call_id": call["id"], "content": "bed 4"} for call in calls]
    return [QUESTION, {"role": "assistant", "content": None, "tool_calls": calls}, *answers[:results]]


def post(model, path, body):
    return httpx.post(f"{model.url}{path}", json=body, timeout=60)


def ask_openai(model, **body):
    return post(model, "/v1/chat/completions", {"messages": [QUESTION]} | body)


def ask_anthropic(model, **body):
    return post(model, "/v1/messages", {"messages": [QUESTION]} | body)


@pytest.mark.parametrize("kind", KINDS)
def test_calls_arrive_in_order_with_names_arguments_and_ids(model, kind):
    model.script(TWO_CALLS)
    reply = complete(model, kind)
    assert called(reply) == [("id_1", "find_patient", {"name": "Ada"}), ("id_2", "list_beds", {})]
    assert reply.choices[0].finish_reason == "tool_calls"
    assert not reply.choices[0].message.content


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_may_go_beside_calls(model, kind):
    model.script(Reply("Let me see.", calls=[Call("list_beds")]))
    reply = complete(model, kind)
    assert reply.choices[0].message.content == "Let me see."
    assert [name for _id, name, _arguments in called(reply)] == ["list_beds"]


@pytest.mark.parametrize(
    ("kind", "prefix"), [("openai", "call_"), ("anthropic", "toolu_"), ("bedrock", "tooluse_")]
)
def test_ids_that_are_not_scripted_look_as_the_vendors(model, kind, prefix):
    model.script(Reply(calls=[Call("list_beds"), Call("list_beds")]))
    ids = [id for id, _name, _arguments in called(complete(model, kind))]
    assert all(id.startswith(prefix) for id in ids)
    assert len(set(ids)) == 2


def test_geminis_calls_have_no_ids_unless_they_are_scripted(model):
    model.script(Reply(calls=[Call("list_beds"), Call("list_beds", id="7")]))
    body = {"contents": [{"role": "user", "parts": [{"text": "Where?"}]}]}
    answer = post(model, "/v1beta/models/m:generateContent", body).json()["candidates"][0]
    assert answer["content"]["parts"] == [
        {"functionCall": {"name": "list_beds", "args": {}}},
        {"functionCall": {"name": "list_beds", "args": {}, "id": "7"}},
    ]
    assert answer["finishReason"] == "STOP"


@pytest.mark.parametrize("kind", KINDS)
def test_the_results_of_all_calls_are_taken(model, kind):
    model.script(TWO_CALLS, "In bed 4.")
    reply = complete(model, kind, history(complete(model, kind), results=2))
    assert reply.choices[0].message.content == "In bed 4."


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("results", [0, 1])
def test_a_missing_result_is_refused(model, kind, results):
    model.script(TWO_CALLS)
    messages = history(complete(model, kind), results)
    with pytest.raises(litellm_import.load().BadRequestError) as caught:
        complete(model, kind, messages)
    assert caught.value.status_code == 400
    assert len(model.requests) == 2


def test_broken_arguments_are_sent_as_they_are_where_they_are_text(model):
    model.script(Reply(calls=[Call("find_patient", '{"name": "Ad')]))
    call = complete(model, "openai").choices[0].message.tool_calls[0]
    assert call.function.arguments == '{"name": "Ad'


@pytest.mark.parametrize("kind", ["anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize(
    ("text", "sent"), [('{"name": "Ada"}', {"name": "Ada"}), ('{"name": "Ad', {}), ("[1]", {})]
)
def test_arguments_as_text_become_an_object_where_one_is_due(model, kind, text, sent):
    model.script(Reply(calls=[Call("find_patient", text)]))
    assert called(complete(model, kind))[0][2] == sent


@pytest.mark.parametrize("kind", KINDS)
def test_a_scripted_reason_stands_beside_calls(model, kind):
    model.script(Reply(calls=[Call("list_beds")], finish_reason="length"))
    reply = complete(model, kind)
    assert [name for _id, name, _arguments in called(reply)] == ["list_beds"]
    choice = reply.choices[0]
    # litellm says tool_calls of Gemini's calls whatever their reason was.
    assert choice.finish_reason == ("tool_calls" if kind == "gemini" else "length")


@pytest.mark.parametrize("kind", KINDS)
def test_tools_calls_and_results_are_counted(model, kind):
    model.script("Hello.", "Hello.", TWO_CALLS, "Done.")
    bare, with_tools = complete(model, kind, tools=None).usage, complete(model, kind).usage
    calls = complete(model, kind)
    after = complete(model, kind, history(calls, results=2)).usage
    assert bare.prompt_tokens < with_tools.prompt_tokens < after.prompt_tokens
    assert calls.usage.completion_tokens > bare.completion_tokens


def test_without_text_and_calls_the_answer_is_ok(model):
    model.script(Reply())
    assert ask_openai(model).json()["choices"][0]["message"]["content"] == "ok"


def test_openai_refuses_names_and_arguments_that_are_none(model):
    def of_call(**function):
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"} | function}
        result = {"role": "tool", "tool_call_id": "1", "content": "x"}
        return [QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]}, result]

    def of_tool(name):
        return [{"type": "function", "function": {"name": name}}]

    assert ask_openai(model, messages=of_call(), tools=of_tool("a" * 64)).status_code == 200
    assert ask_openai(model, tools=of_tool("a" * 65)).status_code == 400
    assert ask_openai(model, tools=of_tool("find.patient")).status_code == 400
    assert ask_openai(model, messages=of_call(name="find patient")).status_code == 400
    assert ask_openai(model, messages=of_call(arguments={})).status_code == 400


def test_anthropic_refuses_calls_without_tools_and_names_and_input_that_are_none(model):
    def of_call(**block):
        call = {"type": "tool_use", "id": "1", "name": "f", "input": {}} | block
        result = {"type": "tool_result", "tool_use_id": "1", "content": "x"}
        return [QUESTION, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]

    tools = [{"name": "a" * 128, "input_schema": {"type": "object"}}]
    assert ask_anthropic(model, messages=of_call(), tools=tools).status_code == 200
    assert ask_anthropic(model, messages=of_call()).status_code == 400
    assert ask_anthropic(model, messages=of_call(input="{}"), tools=tools).status_code == 400
    assert ask_anthropic(model, messages=of_call(name="find patient"), tools=tools).status_code == 400
    assert ask_anthropic(model, tools=[{"name": "a" * 129}]).status_code == 400


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        (["call", "result"], 200),
        (["call call", "result result"], 200),
        (["call call", "result"], 400),
        (["call", "result result"], 400),
        (["call call", "result", "result"], 400),
        (["call", "text", "result"], 400),
        (["call"], 400),
        (["text", "result"], 400),
    ],
)
def test_gemini_wants_a_response_for_each_call_in_the_next_turn(model, parts, status):
    shapes = {
        "call": {"functionCall": {"name": "f", "args": {}}},
        "result": {"function_response": {"name": "f", "response": {}}},
        "text": {"text": "Hm."},
    }
    turns = [{"role": "user", "parts": [{"text": "Where?"}]}]
    turns += [{"role": "user", "parts": [shapes[word] for word in turn.split()]} for turn in parts]
    assert post(model, "/v1beta/models/m:generateContent", {"contents": turns}).status_code == status


def test_bedrock_refuses_calls_without_tools(model):
    call = {"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}
    result = {"toolResult": {"toolUseId": "1", "content": [{"text": "x"}]}}
    messages = [{"role": "user", "content": [{"text": "Where?"}]}, {"role": "assistant", "content": [call]}]
    body = {"messages": [*messages, {"role": "user", "content": [result]}]}
    tools = {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}]}
    assert post(model, "/model/m/converse", body | {"toolConfig": tools}).status_code == 200
    assert post(model, "/model/m/converse", body).status_code == 400


def test_a_claude_whose_history_has_calls_gets_a_dummy_tool_where_none_is_given(model):
    model.script(TWO_CALLS)
    complete(model, "anthropic", history(complete(model, "anthropic"), results=2), tools=None)
    assert [tool["name"] for tool in model.requests[-1].body["tools"]] == ["dummy_tool"]


@pytest.mark.parametrize("choice", [None, "auto", "required"])
def test_a_schema_beside_tools_leaves_them_alone_where_it_is_native(model, choice):
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    arguments = {"response_format": wanted} | ({"tool_choice": choice} if choice else {})
    complete(model, "anthropic", **arguments)
    complete(model, "gemini", **arguments)
    claude, gemini = (seen.body for seen in model.requests)
    modes = {"auto": ("auto", "AUTO"), "required": ("any", "ANY")}

    assert claude["output_format"]["schema"] == gemini["generationConfig"]["response_json_schema"] == schema
    assert [tool["name"] for tool in claude["tools"]] == ["find_patient", "list_beds"]
    assert [t["name"] for t in gemini["tools"][0]["function_declarations"]] == ["find_patient", "list_beds"]
    if choice is None:
        assert "tool_choice" not in claude
        assert "toolConfig" not in gemini
    else:
        assert claude["tool_choice"] == {"type": modes[choice][0]}
        assert gemini["toolConfig"] == {"functionCallingConfig": {"mode": modes[choice][1]}}


@pytest.mark.parametrize("wrong", [{"a": 1}, ["a"], None, 7, b"a"])
def test_a_script_of_a_wrong_type_is_refused_and_adds_nothing(model, wrong):
    with pytest.raises(TypeError) as caught:
        model.script("Fine.", wrong)
    kind = type(wrong).__name__
    assert str(caught.value) == (
        f"script() takes str, Reply, says(), calls() and fails(), not {kind}. For JSON, use says()."
    )
    assert "Fine." not in complete(model, "openai").choices[0].message.content


def test_a_reply_takes_no_dict_as_its_text():
    with pytest.raises(TypeError, match=r"Reply\(\) takes its text as a str, not dict. For JSON, pass json.dumps"):
        Reply({"a": 1})


def test_a_computed_answer_of_a_wrong_type_is_told_to_the_client():
    answers = iter([{"a": 1}, "Fine."])
    with ModelServer(answer=lambda seen: next(answers)) as server:
        body = {"model": "gpt-4o-mini", "messages": [QUESTION]}
        refused = httpx.post(f"{server.openai_base}/chat/completions", json=body)
        assert refused.status_code == 400
        assert "may return str, Reply, says(), calls() and fails(), not dict. For JSON, use says()." in refused.text
        answered = httpx.post(f"{server.openai_base}/chat/completions", json=body)
        assert answered.json()["choices"][0]["message"]["content"] == "Fine."
