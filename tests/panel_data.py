"""Thirty days of a clinic's agents, for pictures and browser tests of the admin pages.

The log's rows are written directly, because no run can start in the past.
"""

import json
import random
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone

from zango_ai import tenancy
from zango_ai.configuration import tool_rows
from zango_ai.ledger import usage_upkeep
from zango_ai.models import (
    AgentConfig,
    Invocation,
    InvocationRound,
    MemoryMessage,
    MemorySession,
    Prompt,
    Provider,
    Spend,
    Tool,
    ToolCall,
    ToolUsage,
)

MODELS = {
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4o": (2.5, 10),
    "claude-haiku-4-5": (1, 5),
    "llama3.2": (0, 0),
}
QUESTIONS = [
    ("When was her last blood test?", "The last blood test was on 3 September 2026: HbA1c 7.1 %."),
    ("Is he allergic to anything?", "Yes. The record lists an allergy to penicillin, noted in 2011."),
    ("Summarise the last visit.", "Dizziness on standing. Ramipril was reduced to 2.5 mg; see again in six weeks."),
    ("Which physiotherapy was prescribed?", "Three sessions for the sprained ankle. X-ray showed no fracture."),
    ("How often did the migraine occur?", "Two attacks a month, down from six before the diary was started."),
]
STATUSES = ["success"] * 92 + ["failed"] * 3 + ["timeout"] * 3 + ["rate_limited", "cancelled"]
ERRORS = {
    "failed": ("LLMAPIError", 'The server answered with an error (500): "The model is overloaded."'),
    "timeout": ("LLMTimeoutError", "The provider did not answer within 30 seconds."),
    "rate_limited": ("RateLimitExceeded", "The provider allows no more requests this minute."),
}
FOUND = [{"id": 1, "name": "Ada Berger", "born": "1957-03-09", "allergies": "penicillin"}]
SYSTEM_PROMPTS = [
    "You help the staff of {{ clinic }}. Answer from the record only.",
    "You help the staff of {{ clinic }}. Answer only from the history that you are given.\n"
    "If it does not contain the answer, say so.",
    "You help the staff of {{ clinic }}. Answer only from the history that you are given.\n"
    "If it does not contain the answer, say so. Write in {{ language }}.",
]


def fill(*, runs: int = 900, api_base: str = "") -> None:
    """Fill the active tenant. ``api_base``: a local model server, so that its agents can be run."""
    agents = _configure(api_base)
    chance = random.Random(7)
    now = timezone.now()
    days = [chance.expovariate(0.08) % 28.6 for _ in range(runs)]
    moments = sorted(now - timedelta(days=day, minutes=chance.uniform(2, 400)) for day in days)
    picks = chance.choices(agents, weights=[9, 6, 4, 3, 1][: len(agents)], k=runs)
    made = [_run(chance, agent, at) for agent, at in zip(picks, moments, strict=True)]
    _store(chance, made, now)
    _decide(agents[1], now)
    _count_tool_calls()
    _wait_for_approval(agents[1], now)
    _converse(agents[2], now)
    _spend(made, now)
    usage_upkeep.correct(tenancy.current_schema())


def _configure(api_base: str) -> list[AgentConfig]:
    address = {"api_base": api_base} if api_base else {}
    shared: dict[str, Any] = {"validated_at": timezone.now(), "max_retries": 0}
    openai = Provider.objects.create(
        **{"name": "openai-main", "kind": "openai", "default_model": "gpt-4o-mini", "monthly_budget_usd": 20},
        **{"description": "The clinic's account.", "credentials": {"api_key": "sk-example", **address}, **shared},
    )
    anthropic = Provider.objects.create(
        **{"name": "anthropic", "kind": "anthropic", "default_model": "claude-haiku-4-5", "monthly_budget_usd": 5},
        **{"credentials": {"api_key": "sk-ant-example"}, **shared},
    )
    local = Provider.objects.create(
        **{"name": "practice-server", "kind": "openai_compatible", "default_model": "llama3.2"},
        **{"credentials": {"api_key": "local", "api_base": api_base or "http://127.0.0.1:9/v1"}, **shared},
        validation_error="Connection refused: nothing listens at this address.",
    )
    for provider, names in (
        (openai, ["gpt-4o-mini", "gpt-4o"]),
        (anthropic, ["claude-haiku-4-5"]),
        (local, ["llama3.2"]),
    ):
        for name in names:
            price = dict(zip(("input_cost_per_mtok", "output_cost_per_mtok"), MODELS[name], strict=True))
            provider.models.create(model_id=name, is_listed=True, **price)
    return _agents(openai, anthropic, local)


def _agents(openai: Provider, anthropic: Provider, local: Provider) -> list[AgentConfig]:
    system = _prompt("clinic-assistant", "system", SYSTEM_PROMPTS, "Who the assistant is and what it may use.")
    question = _prompt("patient-question", "user", ["{{ history }}\n\nQuestion: {{ question }}"], "A question.")
    tool_rows.sync()
    rows: list[tuple[str, str, Provider, dict[str, Any]]] = [
        ("patient-summary", "Summarises a patient's history.", openai, {"user_prompt": question}),
        ("care-assistant", "Answers staff and writes notes into the record.", openai, {"model": "gpt-4o"}),
        ("front-desk-chat", "Chats with visitors at the front desk.", openai, {"short_term_memory": True}),
        ("second-opinion", "Reads a summary again with another vendor.", anthropic, {"monthly_budget_usd": 2}),
        ("letter-writer", "Drafts referral letters.", local, {"is_enabled": False}),
    ]
    agents = [
        AgentConfig.objects.create(name=name, description=text, provider=where, system_prompt=system, **more)
        for name, text, where, more in rows
    ]
    agents[1].tools.set(Tool.objects.filter(section="patients"))
    agents[2].tools.set(Tool.objects.filter(name="find_patient"))
    return agents


def _prompt(name: str, kind: str, texts: list[str], description: str) -> Prompt:
    prompt = Prompt.objects.create(name=name, type=kind, description=description)
    notes = ["First version", "Says what to do without an answer", "Asks for a language"]
    for text, note in zip(texts, notes, strict=False):
        version = prompt.add_version(text, change_description=note)
        if note != notes[2]:
            version.activate()
    return prompt


def _run(chance: random.Random, agent: AgentConfig, at: datetime) -> Invocation:
    model = agent.model or agent.provider.default_model
    status = chance.choice(STATUSES)
    if agent.provider.validation_error and chance.random() < 0.5:
        status = "failed"
    error_type, error_message = ERRORS.get(status, ("", ""))
    tokens_in, tokens_out = chance.randint(300, 2600), chance.randint(20, 420) if status == "success" else 0
    price_in, price_out = MODELS[model]
    cost = Decimal(tokens_in * price_in + tokens_out * price_out) / 1_000_000
    latency = round(chance.lognormvariate(7.6, 0.45)) if status != "timeout" else 30_000
    question, answer = chance.choice(QUESTIONS)
    is_chat = agent.short_term_memory
    return Invocation(
        session_id=f"chat-{1 + round(at.timestamp()) % 3}" if is_chat else None,
        **{"agent": agent, "agent_name": agent.name, "provider": agent.provider, "model": model, "status": status},
        **{"provider_name": agent.provider.name, "triggered_by": chance.choice(["user", "user", "task", "system"])},
        **{"user_ref": chance.choice(["dr-berger", "nurse-okafor", "reception"]), "error_type": error_type},
        **{"error_message": error_message, "input_tokens": tokens_in, "output_tokens": tokens_out},
        **{"cost_usd": cost.quantize(Decimal("1e-8")), "latency_ms": latency, "rounds_count": 1},
        **{"system_prompt_name": "clinic-assistant", "system_prompt_version": 2, "rendered_user_prompt": question},
        rendered_system_prompt=SYSTEM_PROMPTS[1].replace("{{ clinic }}", "North Clinic"),
        response_content=answer if status == "success" else "",
        stop_reason="end_turn" if status == "success" else "",
        started_at=at,
        finished_at=at + timedelta(milliseconds=latency),
        finished_on=timezone.localdate(at + timedelta(milliseconds=latency)),
    )


def _store(chance: random.Random, runs: list[Invocation], now: datetime) -> None:
    Invocation.objects.bulk_create(runs)
    rounds = [each for run in runs for each in _rounds(run)]
    InvocationRound.objects.bulk_create(rounds)
    calls = [_call(chance, each) for each in rounds if each.stop_reason == "tool_use"]
    ToolCall.objects.bulk_create(calls)
    for run in runs:
        run.created_at = run.started_at
    Invocation.objects.bulk_update(runs, ["created_at", "rounds_count"])
    _date(rounds, calls)


def _date(rounds: list[InvocationRound], calls: list[ToolCall]) -> None:
    """Put rounds and calls at the time of their run, one after the other."""
    ends: dict[int, datetime] = {}
    by_round = {call.round_id: call for call in calls}
    for each in rounds:
        run = each.invocation
        each.created_at = ends.get(run.pk, run.started_at or run.created_at)
        ends[run.pk] = each.created_at + timedelta(milliseconds=each.latency_ms or 0)
        if call := by_round.get(each.pk):
            call.created_at = ends[run.pk]
            ends[run.pk] += timedelta(milliseconds=call.duration_ms or 0)
    InvocationRound.objects.bulk_update(rounds, ["created_at"])
    ToolCall.objects.bulk_update(calls, ["created_at"])


def _rounds(run: Invocation) -> list[InvocationRound]:
    """One round; for an agent with tools a second one, which has the tool's result."""
    if run.agent_name != "care-assistant" or run.status != "success":
        return [_round(run, 1)]
    first, second = _round(run, 1), _round(run, 2)
    calls = [{"id": f"call_{run.pk}", "name": "find_patient", "arguments": '{"name": "Berger"}'}]
    first.response_content, first.stop_reason, first.response_tool_calls = "", "tool_use", calls
    second.request_messages = [
        *first.request_messages,
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": json.dumps(FOUND), "tool_call_id": calls[0]["id"]},
    ]
    first.input_tokens, first.output_tokens = run.input_tokens // 3, run.output_tokens // 4
    second.input_tokens -= first.input_tokens
    second.output_tokens -= first.output_tokens
    first.cost_usd = first.charged_usd = (run.cost_usd or Decimal(0)) / 4
    second.cost_usd = second.charged_usd = (run.cost_usd or Decimal(0)) - first.cost_usd
    first.latency_ms = (run.latency_ms or 0) * 2 // 5
    second.latency_ms = (run.latency_ms or 0) - first.latency_ms - 60
    run.rounds_count = 2
    return [first, second]


def _round(run: Invocation, number: int) -> InvocationRound:
    shared = ("provider", "provider_name", "model", "status", "error_type", "error_message", "response_content")
    numbers = ("input_tokens", "output_tokens", "cost_usd", "latency_ms", "stop_reason")
    history = [
        {"role": "user", "content": QUESTIONS[1][0]},
        {"role": "assistant", "content": QUESTIONS[1][1]},
    ]
    messages = [
        {"role": "system", "content": run.rendered_system_prompt},
        *(history if run.session_id else []),
        {"role": "user", "content": run.rendered_user_prompt},
    ]
    return InvocationRound(
        **{name: getattr(run, name) for name in shared + numbers},
        **{"invocation": run, "number": number, "request_messages": messages, "charged_usd": run.cost_usd or 0},
        time_to_first_token_ms=(run.latency_ms or 0) // 4,
        request_params={"model": run.model, "temperature": 0.7, "max_tokens": 2000},
    )


def _call(chance: random.Random, of: InvocationRound, **fields: Any) -> ToolCall:
    status = chance.choice(["success"] * 20 + ["error", "timeout"])
    values = {
        **{"round": of, "position": 0, "call_id": f"call_{of.invocation_id}", "tool_name": "find_patient"},
        **{"arguments": {"name": "Berger"}, "result": FOUND if status == "success" else None, "status": status},
        **{"duration_ms": chance.randint(4, 60), "error_message": "" if status == "success" else "Database busy."},
    }
    return ToolCall(**{**values, **fields})


def _count_tool_calls() -> None:
    """Fill in the figures that the ledger keeps as calls end."""
    ended = ToolCall.objects.order_by().values("tool_name", "status")
    figures = ended.annotate(calls=Count("pk"), timed_calls=Count("duration_ms"), duration_ms=Sum("duration_ms"))
    ToolUsage.objects.bulk_create(ToolUsage(**row) for row in figures)


def _wait_for_approval(agent: AgentConfig, now: datetime) -> None:
    chance = random.Random(3)
    notes = ["Ramipril reduced to 2.5 mg, see again in six weeks.", "Asked to bring the migraine diary."]
    for minutes, note in zip((4, 75), notes, strict=True):
        run = _run(chance, agent, now - timedelta(minutes=minutes))
        run.status, run.error_type, run.error_message = Invocation.Status.AWAITING_APPROVAL, "", ""
        run.run_id, run.stop_reason, run.finished_at = uuid.uuid4(), "approval_required", None
        run.finished_on = None
        run.save()
        of = _round(run, 1)
        of.status = Invocation.Status.SUCCESS
        of.save()
        fields: dict[str, Any] = {"tool_name": "record_note", "arguments": {"patient_id": 1, "text": note}}
        waiting = {"status": "awaiting_approval", "result": None, "duration_ms": None, "error_message": ""}
        waiting["description"] = f"Write into the record of Ada Berger: {note}"
        call = _call(chance, of, **fields, **waiting, expires_at=now + timedelta(hours=23))
        call.save()
        ToolCall.objects.filter(pk=call.pk).update(created_at=run.started_at)


def _decide(agent: AgentConfig, now: datetime) -> None:
    """Three approvals of the last days."""
    chance = random.Random(5)
    rows = ToolCall.objects.filter(round__invocation__agent_name=agent.name).order_by("-pk")[:3]
    for call, (decision, text) in zip(
        rows,
        [
            ("approved", "HbA1c 7.1 %, control in three months."),
            ("denied The patient asked not to store this.", "Prefers to be called by her first name."),
            ("expired", "Bring the insurance card next time."),
        ],
        strict=False,
    ):
        verdict = decision.partition(" ")[0]
        call.tool_name, call.status = "record_note", "success" if verdict == "approved" else verdict
        call.arguments, call.decision = {"patient_id": 1, "text": text}, decision
        call.description = f"Write into the record of Ada Berger: {text}"
        call.decided_by = "" if verdict == "expired" else "dr-berger"
        call.expires_at = now
        call.decided_at = now - timedelta(hours=chance.uniform(2, 60))
        if verdict == "approved":
            call.approved_arguments = {"patient_id": 1, "text": "HbA1c 7.1 %, control in six weeks."}
        call.save()


def _converse(agent: AgentConfig, now: datetime) -> None:
    runs = Invocation.objects.filter(agent_name=agent.name).order_by("-id").values_list("pk", flat=True)[:2]
    for number, user in enumerate(("visitor-12", "visitor-31", "reception")):
        messages: list[dict[str, Any]] = []
        for run, (question, answer) in zip(runs, QUESTIONS[number : number + 2], strict=False):
            call = {"id": f"call_{run}", "name": "find_patient", "arguments": '{"name": "Berger"}'}
            found = '[{"id": 1, "name": "Ada Berger", "born": "1957-03-09", "allergies": "penicillin"}]'
            messages += [
                {"invocation_id": run, "role": "user", "content": question},
                {"invocation_id": run, "role": "assistant", "content": "", "tool_calls": [call]},
                {"invocation_id": run, "role": "tool", "content": found, "tool_call_id": call["id"]},
                {"invocation_id": run, "role": "assistant", "content": answer},
            ]
        session = MemorySession.objects.create(
            **{
                "agent": agent,
                "session_id": f"chat-{number + 1}",
                "user_ref": user,
                "turns_count": len(messages) // 4,
            },
            last_active_at=now - timedelta(hours=3 * number),
            last_sequence=len(messages),
        )
        MemoryMessage.objects.bulk_create(
            MemoryMessage(session=session, sequence=position, **message)
            for position, message in enumerate(messages, 1)
        )


def _spend(runs: list[Invocation], now: datetime) -> None:
    month = timezone.localdate(now).replace(day=1)
    amounts = {"openai-main": (Decimal("16.84"), Decimal("0.12")), "anthropic": (Decimal("1.2"), Decimal(0))}
    for provider in Provider.objects.filter(name__in=amounts):
        spent, reserved = amounts[provider.name]
        Spend.objects.create(
            **{"owner": "provider", "owner_id": provider.pk, "owner_name": provider.name, "month_start": month},
            **{"spent_usd": spent, "reserved_usd": reserved, "calls": len(runs)},
        )
    for agent in AgentConfig.objects.filter(monthly_budget_usd__isnull=False):
        Spend.objects.create(
            **{"owner": "agent", "owner_id": agent.pk, "owner_name": agent.name, "month_start": month},
            **{"spent_usd": Decimal("2.01"), "calls": 40},
        )
