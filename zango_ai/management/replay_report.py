"""Print replays: the answers side by side, and a table of many runs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from .. import sanitize
from ..ledger.money import format_usd
from ..models import Invocation
from ..prompts.diff import DiffRow, Segment
from ..runs.replay_batch import Replayed
from ..runs.replay_comparison import Comparison

_MAX_SHOWN_CHARS = 60


def lines(comparison: Comparison, width: int) -> Iterator[str]:
    """The figures and the answers of both runs, in two columns."""
    column = max((width - 18) // 2, 20)
    for name, old, new in _figures(comparison):
        yield f"{name:<15}{old:<{column}} {new}".rstrip()
    yield ""
    if comparison.is_same:
        yield "Both answers are the same:"
        yield sanitize.sendable(comparison.replay.response_content)
    else:
        yield "Answers, with [-removed-] and {+added+} words:"
        half = max((width - 3) // 2, 20)
        for row in comparison.rows:
            yield from _side_by_side(row, half)
    yield from notes(comparison)


def notes(comparison: Comparison) -> Iterator[str]:
    """What was different about the tool calls."""
    for call in comparison.diverged:
        yield f"Diverged: {call.tool_name} was called with other arguments: {_shown(call.arguments)}"
    for call in comparison.not_called:
        yield f"Not called again: {call.tool_name} with {_shown(call.arguments)}"


def table(replayed: Sequence[Replayed], comparisons: Iterable[Comparison]) -> Iterator[str]:
    """A line for each run of a batch, and their total cost."""
    by_replay = {each.replay.pk: each for each in comparisons}
    rows: list[tuple[str, ...]] = [("run", "replay", "answer", "tokens", "cost", "was", "latency", "note")]
    for each in replayed:
        comparison = by_replay.get(each.replay_id or 0)
        if comparison is None:
            rows.append((str(each.original_id), "-", "not replayed", "", "", "", "", _error(each)))
        else:
            rows.append(_row(comparison, _error(each)))
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield summary(list(by_replay.values()))


def summary(comparisons: Sequence[Comparison]) -> str:
    """How many answers are the same, and the total cost of the replays beside that of the recorded runs."""
    same = sum(each.is_same for each in comparisons)
    new, old = total_usd([each.replay for each in comparisons]), total_usd([each.original for each in comparisons])
    return f"{same} of {len(comparisons)} answers are the same. Total cost: {new}; the recorded runs: {old}."


def total_usd(runs: Iterable[Invocation]) -> str:
    costs = [run.cost_usd for run in runs]
    known = sum((cost for cost in costs if cost is not None), Decimal(0))
    unknown = costs.count(None)
    return format_usd(known) + (f" + {unknown} of unknown cost" if unknown else "")


def as_dict(comparison: Comparison) -> dict[str, Any]:
    return {
        "original": _run_as_dict(comparison.original),
        "replay": _run_as_dict(comparison.replay),
        "is_same": comparison.is_same,
        "diverged": [_call_as_dict(call) for call in comparison.diverged],
        "not_called": [_call_as_dict(call) for call in comparison.not_called],
    }


def _figures(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    for name, value in {
        "": lambda run: "recorded run" if run is comparison.original else "replay",
        "invocation": lambda run: str(run.pk),
        "status": lambda run: f"{run.status} {run.error_type}".strip(),
        "provider": lambda run: run.provider_name,
        "model": lambda run: run.model,
        "system prompt": lambda run: _version(run.system_prompt_name, run.system_prompt_version),
        "user prompt": lambda run: _version(run.user_prompt_name, run.user_prompt_version),
        "tokens in/out": _tokens,
        "cost": _cost,
        "latency": _latency,
    }.items():
        yield name, value(comparison.original), value(comparison.replay)


def _row(comparison: Comparison, error: str) -> tuple[str, ...]:
    original, replay = comparison.original, comparison.replay
    answer = replay.status if replay.status != Invocation.Status.SUCCESS else "differs"
    return (
        str(original.pk),
        str(replay.pk),
        "same" if comparison.is_same and not error else answer,
        _tokens(replay),
        _cost(replay),
        _cost(original),
        _latency(replay),
        error or f"{len(comparison.diverged)} tool calls diverged" * bool(comparison.diverged),
    )


def _error(replayed: Replayed) -> str:
    return "" if replayed.error is None else f"{type(replayed.error).__name__}: {replayed.error}"


def _side_by_side(row: DiffRow, width: int) -> Iterator[str]:
    is_same = row.kind == "same"
    sides = [
        textwrap.wrap(_marked(segments, marks), width) or [""]
        for segments, marks in (
            (row.old, ("", "") if is_same else ("[-", "-]")),
            (row.new, ("", "") if is_same else ("{+", "+}")),
        )
    ]
    for old, new in zip_longest(*sides, fillvalue=""):
        yield f"{old:<{width}} | {new}".rstrip()


def _marked(segments: Iterable[Segment], marks: tuple[str, str]) -> str:
    before, after = marks
    text = "".join(f"{before}{text}{after}" if is_changed and text else text for text, is_changed in segments)
    return sanitize.sendable(text)


def _version(name: str, number: int | None) -> str:
    if not name:
        return "-"
    return f"{name} v{number}" if number else f"{name} (draft)"


def _tokens(run: Invocation) -> str:
    return f"{run.input_tokens} / {run.output_tokens}"


def _cost(run: Invocation) -> str:
    return "unknown" if run.cost_usd is None else format_usd(run.cost_usd)


def _latency(run: Invocation) -> str:
    return "-" if run.latency_ms is None else f"{run.latency_ms} ms"


def _shown(arguments: Any) -> str:
    return textwrap.shorten(json.dumps(arguments, ensure_ascii=False), _MAX_SHOWN_CHARS, placeholder="…")


def _run_as_dict(run: Invocation) -> dict[str, Any]:
    names = ("status", "error_type", "error_message", "provider_name", "model", "input_tokens", "output_tokens")
    prompts = [f"{role}_prompt_{part}" for role in ("system", "user") for part in ("name", "version")]
    return {
        "invocation_id": run.pk,
        "run_id": str(run.run_id),
        "content": run.response_content,
        **{name: getattr(run, name) for name in (*names, *prompts, "latency_ms")},
        "cost_usd": None if run.cost_usd is None else str(run.cost_usd),
    }


def _call_as_dict(call: Any) -> dict[str, Any]:
    return {"tool_name": call.tool_name, "arguments": call.arguments}
