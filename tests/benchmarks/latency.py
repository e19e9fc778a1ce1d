"""What a run takes beside the same calls by bare litellm and the bare OpenAI client; the model answers at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.benchmarks import measure
from tests.statements import statements

MODEL = "gpt-4o-mini"
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "reasons": {"type": "array", "items": {"type": "string"}}},
    "required": ["answer", "reasons"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
PARAMS = {"temperature": 0.7, "max_tokens": 2000}
Complete = Callable[..., Any]


def bare_litellm(server: Any) -> Complete:
    from zango_ai.providers import litellm_import

    litellm = litellm_import.load()

    def complete(messages: list[Any], **more: Any) -> Any:
        address = {"api_key": "sk-bench", "api_base": server.openai_base, "max_retries": 0}
        return litellm.completion(model=f"openai/{MODEL}", messages=messages, **PARAMS, **address, **more)

    return complete


def bare_openai(server: Any) -> Complete:
    import openai

    client = openai.OpenAI(api_key="sk-bench", base_url=server.openai_base, max_retries=0)

    def complete(messages: list[Any], **more: Any) -> Any:
        return client.chat.completions.create(model=MODEL, messages=messages, **PARAMS, **more)  # type: ignore[call-overload]

    return complete


def bare(complete: Complete, tool: Any) -> dict[str, Callable[[], Any]]:
    """Each case as somebody would write it who wants the answer and keeps nothing."""

    def said(text: str) -> dict[str, str]:
        return {"role": "user", "content": text}

    def prompts() -> None:
        values = {"name": "Ada", "words": 3}
        system = {"role": "system", "content": "You work at {site}.".format(site="North")}
        complete([system, said("Tell of {name} in {words} words.".format(**values))])

    def third_turn() -> None:
        answered = [{"role": "assistant", "content": "You asked"}]
        complete([said("first"), *answered, said("second"), *answered, said("third")])

    def one_tool_call() -> None:
        schema = {"name": tool.name, "description": tool.description, "parameters": tool.parameters_schema}
        tools = [{"type": "function", "function": schema}]
        reply = complete([said("hi")], tools=tools).choices[0].message
        call = reply.tool_calls[0]
        result = json.dumps(tool.function(**json.loads(call.function.arguments)))
        asked = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
        told = {"role": "tool", "tool_call_id": call.id, "content": result}
        complete([said("hi"), asked, told], tools=tools)

    def in_json() -> None:
        json.loads(complete([said("hi")], response_format=FORM).choices[0].message.content)

    return {
        "plain": lambda: complete([said("hi")]),
        "prompts with variables": prompts,
        "third turn of a conversation": third_turn,
        "one tool call": one_tool_call,
        "JSON by a schema": in_json,
    }


def agents(server: Any) -> tuple[measure.Works, measure.Works, Any]:
    """The same by agents; what has to be done before each time; and the tool."""
    from tests.build import make_agent, make_agent_with, make_prompt, make_provider
    from zango_ai import get_agent, tool

    @tool(description="Twice a number.")
    def bench_double(number: int) -> int:
        return number * 2

    provider = make_provider(server)
    make_agent(server, "plain", provider=provider)
    user_prompt = make_prompt("Tell of {{ name }} in {{ words }} words.")
    system_prompt = make_prompt("You work at {{ site }}.", "system")
    prompts = {"user_prompt": user_prompt, "system_prompt": system_prompt}
    make_agent(server, "prompts", provider=provider, **prompts)
    make_agent(server, "memory", provider=provider, short_term_memory=True)
    make_agent_with(server, bench_double, name="tool", provider=provider)
    make_agent(server, "json", provider=provider, output_schema="json", output_json_schema=SCHEMA)
    third_turn, forget = third_turns(get_agent("memory"))
    runs = {
        "plain": lambda: get_agent("plain").run("hi"),
        "prompts with variables": lambda: get_agent("prompts").run(
            variables={"name": "Ada", "words": 3}, system_variables={"site": "North"}
        ),
        "third turn of a conversation": third_turn,
        "one tool call": lambda: get_agent("tool").run("hi"),
        "JSON by a schema": lambda: get_agent("json").run("hi"),
    }
    return runs, {"third turn of a conversation": forget}, bench_double.tool


def third_turns(agent: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A run that finds two turns, and what takes away before the next what it has added."""
    from zango_ai import get_agent
    from zango_ai.models import MemoryMessage, MemorySession

    session_id = agent.run("first").session_id
    agent.run("second", session_id=session_id)
    session = MemorySession.objects.get(session_id=session_id)

    def forget() -> None:
        MemoryMessage.objects.filter(session=session, sequence__gt=4).delete()
        MemorySession.objects.filter(pk=session.pk).update(last_sequence=4, turns_count=2)

    def run() -> None:
        get_agent("memory").run("third", session_id=session_id)

    return run, forget


def measured(server: Any, rounds: int) -> dict[str, Any]:
    """Medians; and of the parts of a plain run by themselves."""
    runs, before, tool = agents(server)
    litellm, openai = (bare(complete(server), tool) for complete in (bare_litellm, bare_openai))
    figures = {}
    for name, run in runs.items():
        works = {"litellm": litellm[name], "openai": openai[name], "run": run}
        prepare = before.get(name, lambda: None)
        ms = measure.interleaved(works, rounds, before={"run": prepare})
        prepare()
        count = len(statements(run))
        figures[name] = {
            "litellm_ms": ms["litellm"],
            "openai_ms": ms["openai"],
            "run_ms": ms["run"],
            "run_to_litellm": ms["run"] / ms["litellm"],
            "added_ms": ms["run"] - ms["litellm"],
            "sql": count,
        }
    return {"cases": figures, "parts": parts(server, rounds)}


def stored_stream() -> Any:
    """A streamed background run, executed here."""
    from zango_ai import get_agent
    from zango_ai.runs.resumption import execute_queued

    run = get_agent("plain").enqueue("hi", stream=True)
    execute_queued(str(run.run_id), celery_task_id="bench")
    return run


def parts(server: Any, rounds: int) -> dict[str, float]:
    """What a plain run does, each by itself, and the same call without litellm, in milliseconds."""
    from unittest import mock

    from zango_ai import get_agent
    from zango_ai.configuration import agents
    from zango_ai.database import writer
    from zango_ai.providers import calls, clients
    from zango_ai.providers.call_trace import CallTrace
    from zango_ai.providers.kinds import KINDS
    from zango_ai.types import LLMMessage, ModelRequest

    provider = agents.read_agent("plain").provider  # type: ignore[union-attr]
    messages = (LLMMessage("user", "hi"),)
    request = ModelRequest(MODEL, messages, temperature=0.7, max_tokens=2000, timeout_s=30.0)
    body = {"messages": [{"role": "user", "content": "hi"}], "model": MODEL, **PARAMS}

    def direct() -> None:
        openai = KINDS["openai"]
        with CallTrace.start(30.0).active(), clients.borrow(provider, openai) as client:
            client.for_litellm(openai, provider.credentials).chat.completions.create(**body).parse()

    stored = stored_stream()
    answer = calls.prepare(provider, request).send()
    rows: dict[str, Any] = {}

    def remembered(connection: Any, sql: str, params: Any) -> Any:
        if sql not in rows:
            rows[sql] = once(connection, sql, params)
        return rows[sql]

    once, really = writer.execute_on, calls.PreparedCall.send

    def without(*, sql: bool = False, model: bool = False) -> Callable[[], Any]:
        def run() -> None:
            executed = remembered if sql else once
            send = (lambda call: answer) if model else really
            with (
                mock.patch.object(writer, "execute_on", executed),
                mock.patch.object(calls.PreparedCall, "send", send),
            ):
                get_agent("plain").run("hi")

        return run

    return measure.interleaved(
        {
            "a plain run": without(),
            "without PostgreSQL": without(sql=True),
            "without the model": without(model=True),
            "without either": without(sql=True, model=True),
            "the call to the model, by litellm": lambda: calls.prepare(provider, request).send(),
            "the same without litellm": direct,
            "the first chunk of a stored stream that is read again": lambda: next(stored.stream()),
        },
        rounds,
    )
