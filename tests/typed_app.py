"""An application as mypy and pyright see it, both strict. See ``pure/package/test_type_checks.py``.

Nothing executes this module. A type checker must report each line that says ``wrong``, and no other.
"""

from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, assert_type

from zango_ai import (
    Agent,
    EnqueuedRun,
    LLMResponse,
    LLMStreamChunk,
    LLMToolCall,
    LLMUsage,
    ToolParam,
    ToolSafety,
    aget_agent,
    define_agent,
    define_prompt,
    define_provider,
    get_agent,
    get_prompt,
    get_provider,
    get_run,
    tool,
)
from zango_ai.definitions import AgentOptions
from zango_ai.exceptions import BudgetExceeded, RateLimitExceeded
from zango_ai.runs.arguments import RunArguments
from zango_ai.tasks import BaseTask


@dataclass
class Invoice:
    total: Decimal
    due: date | None = None


agent = get_agent("billing")


def answers() -> None:
    assert_type(agent.run("Hello"), LLMResponse)
    assert_type(agent.run("Hello").parsed_content, Any | None)
    assert_type(agent.run("Hello", output_type=Invoice), LLMResponse[Invoice])
    assert_type(agent.run("Hello", output_type=Invoice).parsed_content.due, date | None)
    assert_type(agent.run(variables={"n": 1}, output_type=list[Invoice]).parsed_content, list[Invoice])
    assert_type(agent.run("Hello", output_type={"type": "object"}).parsed_content, Any | None)
    assert_type(agent.run("Hello", output_type=None).parsed_content, Any | None)
    agent.run("Hello", output_type=Invoice | None)
    options: RunArguments = {"temperature": 0.2, "session_id": "s"}
    agent.run("Hello", **options)
    bill = agent.resume("id", {"call": True}, output_type=Invoice)
    assert_type(bill.parsed_content, Invoice)
    assert_type(agent.resume("id", {"call": "no"}), LLMResponse)
    show(bill)
    show(agent.run("Hello"))


def show(response: LLMResponse) -> str:
    assert_type(response.usage, LLMUsage)
    assert_type(response.tool_calls, list[LLMToolCall])
    assert_type((response.content, response.cost_usd, response.latency_ms), tuple[str, float, int])
    assert_type(response.session_id, str | None)
    return response.content


def answers_wrongly() -> None:
    agent.run("Hello", output_type=3)  # wrong
    agent.run("Hello", output_type=Invoice(Decimal(1)))  # wrong
    agent.run("Hello", output_type=Invoice).parsed_content.sum  # wrong
    agent.run("Hello", temprature=0.2)  # wrong
    agent.run("Hello", temperature="hot")  # wrong
    agent.resume("id", {"call": True}, output_type="Invoice")  # wrong
    agent.stream("Hello", sesion_id="s")  # wrong
    agent.run("Hello").parsed  # wrong
    agent.run("Hello").stop_reason == 3 and agent.run("Hello").content + 1  # wrong


def streams() -> str:
    chunks = agent.stream("Hello", output_type=Invoice)
    assert_type(chunks, Generator[LLMStreamChunk[Invoice], None, None])
    for chunk in chunks:
        if chunk.response is not None:
            assert_type(chunk.response.parsed_content, Invoice)
        if chunk.tool_call is not None:
            assert_type(chunk.tool_call.input, Mapping[str, Any])
    for plain in agent.stream("Hello"):
        assert_type(plain, LLMStreamChunk)
        assert_type(plain.delta_text, str)
    assert_type(agent.resume_stream("id", {}, output_type=Invoice), Generator[LLMStreamChunk[Invoice], None, None])
    return "".join(each.text for each in agent.stream("Hello"))


async def answers_async() -> None:
    one = await aget_agent("billing")
    assert_type(await one.arun("Hello", output_type=Invoice), LLMResponse[Invoice])
    assert_type(await one.arun("Hello"), LLMResponse)
    assert_type(one.astream("Hello", output_type=Invoice), AsyncGenerator[LLMStreamChunk[Invoice], None])
    async for chunk in one.astream("Hello", output_type=Invoice):
        assert_type(chunk.response, LLMResponse[Invoice] | None)
    assert_type((await one.aresume("id", {}, output_type=Invoice)).parsed_content, Invoice)


async def answers_async_wrongly() -> None:
    await agent.arun("Hello", output_type=Invoice())  # wrong
    agent.astream("Hello", model=3)  # wrong
    (await agent.arun("Hello", output_type=Invoice)).parsed_content.sum  # wrong


async def background_runs() -> None:
    queued = agent.enqueue("Hello", output_type=Invoice)
    assert_type(queued, EnqueuedRun[Invoice])
    assert_type(queued.response().parsed_content.due, date | None)
    assert_type(queued.stream(), Generator[LLMStreamChunk[Invoice], None, None])
    assert_type(await agent.aenqueue("Hello", stream=True, output_type=list[Invoice]), EnqueuedRun[list[Invoice]])
    assert_type(agent.enqueue("Hello"), EnqueuedRun)
    assert_type(agent.enqueue("Hello").response(), LLMResponse)
    assert_type(get_run(queued.run_id), EnqueuedRun)
    found = get_run(queued.run_id, output_type=Invoice)
    assert_type(found.response(), LLMResponse[Invoice])
    async for chunk in found.astream(after=3):
        assert_type(chunk.response, LLMResponse[Invoice] | None)
    show(found.response())
    waits_for(queued)


def waits_for(queued: EnqueuedRun) -> str:
    return queued.wait(timeout=5)


def background_runs_wrongly() -> None:
    agent.enqueue("Hello", output_type=Invoice).response().parsed_content.sum  # wrong
    agent.enqueue("Hello", output_type=3)  # wrong
    get_run("id", output_type="Invoice")  # wrong
    get_run("id", Invoice)  # wrong
    get_run("id", output_type=Invoice).response().parsed_content.sum  # wrong


@tool
def count_beds(ward: str, free_only: bool = ToolParam("Only free beds", default=True)) -> int:
    """Count the beds of a ward."""
    return len(ward) if free_only else 0


@tool(name="move_bed", description="Move a bed", safety=ToolSafety.WRITE, rate_limit=3)
async def move_bed(
    bed: int = ToolParam(description="The bed's number", ge=1),
    ward: str = ToolParam(enum=["A", "B"]),
    day: date | None = ToolParam(default=None),
    hours: float = ToolParam(default=1),
) -> dict[str, int]:
    return {ward: bed + int(hours)}


async def tools() -> None:
    assert_type(count_beds("A"), int)
    assert_type(count_beds("A", free_only=False), int)
    assert_type(await move_bed(3, "A"), dict[str, int])


def tools_wrongly() -> None:
    count_beds(3)  # wrong
    count_beds("A", free="no")  # wrong
    tool(nam="x")  # wrong
    ToolParam(description="x", minimum=3)  # wrong


def described_wrongly(bed: int = ToolParam(default="one")) -> int:  # wrong
    return bed


class Remind(BaseTask):
    name = "tests.remind"

    def run(self, patient_id: int, *, language: str = "en") -> str:
        return f"{patient_id} {language}"


def tasks() -> None:
    Remind.delay(3, language="de")
    Remind.apply_async([3], {"language": "de"}, countdown=5)


def tasks_wrongly() -> None:
    Remind.delay("3")  # wrong
    Remind.delay(3, langauge="de")  # wrong


def configuration() -> None:
    provider = define_provider("main", kind="openai", credentials={"api_key": "x"}, models=["a"], max_retries=1)
    define_provider("main", models={"a": {"input_cost_per_mtok": Decimal(1), "accepts_tools": None}})
    prompt = define_prompt("style", "Be kind.", type="system")
    made = define_agent(
        "billing",
        provider=provider,
        system_prompt=prompt,
        user_prompt="Bill {{ name }}.",
        tools=[count_beds, move_bed, "find_patient"],
        fallbacks=["backup", {"provider": provider, "model": "a"}],
        output_json_schema=Invoice,
        monthly_budget_usd=None,
    )
    assert_type(made, Agent)
    options: AgentOptions = {"temperature": 0.2, "short_term_memory": True}
    define_agent("billing", **options)


def configuration_wrongly() -> None:
    define_agent("billing", temprature=0.2)  # wrong
    define_agent("billing", provider=3)  # wrong
    define_agent("billing", output_schema="xml")  # wrong
    define_provider("main", api_key="x")  # wrong
    define_provider("main", models={"a": {"price": 1}})  # wrong
    define_prompt("style", "Be kind.", type="robot")  # wrong


def direct() -> None:
    assert_type(get_provider("main").complete([]), LLMResponse)
    assert_type(get_prompt("letter").render(name="Ada"), str)
    try:
        agent.run("Hello")
    except BudgetExceeded as exc:
        assert_type(exc.budget_limit, Decimal)
    except RateLimitExceeded as exc:
        assert_type(exc.retry_after_seconds, float | None)
