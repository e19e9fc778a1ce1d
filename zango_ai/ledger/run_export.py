"""Runs as CSV or JSON Lines, piece by piece, for any number of runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from .run_filters import Runs

NUMBERS = (
    *("id", "run_id", "agent_name", "provider_name", "model", "response_model", "status", "triggered_by"),
    *("user_ref", "session_id", "celery_task_id", "started_at", "finished_at", "latency_ms", "rounds_count"),
    *("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens", "cost_usd", "stop_reason"),
    *("error_type", "system_prompt_name", "system_prompt_version", "user_prompt_name", "user_prompt_version"),
    *("payload_removed_at", "is_on_hold", "replay_of_id", "replayed_by", "replay_batch"),
)
"""The columns of every export."""
TEXTS = (
    *("rendered_system_prompt", "rendered_user_prompt", "variables", "system_variables", "response_content"),
    "error_message",
)
"""The columns that only those who may read texts get."""

_BATCH = 500
_IGNORED_STARTS = " \u00a0\ufeff\x0b\x0c"
"""Spreadsheets skip these before a formula."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets take for the beginning of a formula, also in full width."""

Row = Mapping[str, Any]


def read(runs: Runs, *, has_texts: bool, tenant: str = "") -> Iterator[list[Row]]:
    """The rows, newest first, in batches of one query each. ``tenant`` becomes the first column if it is given.

    A batch begins below the last key of the one before. So no cursor or transaction stays open while a slow reader
    takes its time.
    """
    names, last = columns(has_texts), None
    ordered = runs.order_by("-pk")
    while True:
        rows = list((ordered if last is None else ordered.filter(pk__lt=last))[:_BATCH].values(*names))
        if rows:
            yield [{"tenant": tenant, **row} for row in rows] if tenant else rows
        if len(rows) < _BATCH:
            return
        last = rows[-1]["id"]


def columns(has_texts: bool) -> tuple[str, ...]:
    """The names of the columns."""
    return (*NUMBERS, *TEXTS) if has_texts else NUMBERS


def csv_header(names: Iterable[str]) -> str:
    """The first line of a CSV file."""
    return _csv_lines([list(names)])


def to_csv(rows: Iterable[Row]) -> str:
    """Lines of CSV. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    return _csv_lines([[_cell(value) for value in row.values()] for row in rows])


def to_json_lines(rows: Iterable[Row]) -> str:
    """A JSON object in each line. Amounts are strings, so that no digit is lost."""
    return "".join(json.dumps(row, ensure_ascii=False, default=_plain) + "\n" for row in rows)


FORMATS: dict[str, Callable[[Iterable[Row]], str]] = {"csv": to_csv, "jsonl": to_json_lines}


def _csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(_IGNORED_STARTS).startswith(_FORMULA_STARTS) else value
    return str(_plain(value))


def _plain(value: Any) -> Any:
    return (
        value.isoformat()
        if isinstance(value, datetime)
        else value
        if isinstance(value, (int, float))
        else f"{value}"
    )
