"""Calls of ``run()``, its async forms, ``enqueue()``, ``complete()`` and ``render()`` as a type checker sees them.

Nothing executes this module. ``pure/package/test_type_checks.py`` runs mypy on it.
"""

from decimal import Decimal
from typing import assert_type

from zango_ai import (
    Agent,
    EnqueuedRun,
    LLMFile,
    LLMMessage,
    LLMResponse,
    LLMStreamChunk,
    aget_agent,
    get_agent,
    get_prompt,
    get_provider,
)
from zango_ai.runs.arguments import RunArguments

agent = get_agent("helper")
provider = get_provider("main")
prompt = get_prompt("letter")


def run() -> None:
    assert_type(agent.run(), LLMResponse)
    agent.run("Hello")
    agent.run(input="Hello", session_id="s", user_ref="7")
    agent.run(variables={"patient_id": 7}, system_variables={}, temperature=1)
    agent.run(messages=[LLMMessage("user", "Hello")], files=(LLMFile.from_bytes(b"x", "text/plain"),))
    agent.run("Hello", triggered_by="system", max_tool_rounds=0, output_type={"type": "object"})
    assert_type(agent.enqueue("Hello", model="gpt-4o", max_tokens=None), EnqueuedRun)
    arguments: RunArguments = {"temperature": 0.2, "triggered_by": "task"}
    agent.run("Hello", **arguments)


def run_wrongly() -> None:
    agent.run(3)  # wrong
    agent.run("Hello", "s")  # wrong
    agent.run("Hello", session="s")  # wrong
    agent.run("Hello", session_id=3)  # wrong
    agent.run("Hello", temperature=Decimal(1))  # wrong
    agent.run("Hello", triggered_by="robot")  # wrong
    agent.run(messages=["Hello"])  # wrong
    agent.run(files=["a.txt"])  # wrong
    agent.enqueue("Hello", sesion_id="s")  # wrong
    agent.enqueue("Hello", max_tokens="5")  # wrong
    wrong: RunArguments = {"temprature": 0.2}  # wrong
    agent.run("Hello", **wrong)


async def run_async() -> None:
    one = await aget_agent("helper")
    assert_type(one, Agent)
    assert_type(await one.arun("Hello", session_id="s", temperature=1), LLMResponse)
    assert_type([chunk async for chunk in one.astream("Hello", output_type={})], list[LLMStreamChunk])
    assert_type(await one.aenqueue("Hello", max_tokens=None), EnqueuedRun)
    assert_type(await one.aresume("id", {"a": True}, decided_by="7"), LLMResponse)
    assert_type(await one.aclear_session("s"), bool)
    messages = [LLMMessage("user", "Hello")]
    assert_type(await provider.acomplete(messages, max_tokens=5), LLMResponse)
    assert_type([chunk async for chunk in provider.astream(messages)], list[LLMStreamChunk])
    assert_type(list(provider.stream(messages, user_ref="7")), list[LLMStreamChunk])


async def run_async_wrongly() -> None:
    await agent.arun(3)  # wrong
    await agent.arun("Hello", session="s")  # wrong
    agent.astream("Hello", temperature="hot")  # wrong
    await agent.aenqueue("Hello", sesion_id="s")  # wrong
    await agent.aresume("id", True)  # wrong
    await provider.acomplete(["Hello"])  # wrong
    provider.stream([], session_id="s")  # wrong


def call_a_provider() -> None:
    assert_type(provider.complete([LLMMessage("user", "Hello")]), LLMResponse)
    provider.complete((LLMMessage("user", "Hello"),), model="gpt-4o", temperature=0, max_tokens=5, user_ref="7")
    assert_type(prompt.render(name="Ada", number=7), str)
    assert_type((prompt.content, prompt.version_number), tuple[str, int])


def call_a_provider_wrongly() -> None:
    provider.complete(["Hello"])  # wrong
    provider.complete()  # wrong
    provider.complete([], triggered_by="robot")  # wrong
    provider.complete([], session_id="s")  # wrong
    prompt.render("Ada")  # wrong
