"""Warn of arguments that have no effect or a surprising one: in the log, once per process and agent."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from threading import Lock
from typing import Any

from django.db.models import QuerySet

from .. import sanitize
from ..prompts import rendering
from ..types import AgentSpec
from .request_builder import Question

logger = logging.getLogger("zango_ai.agent")

_MOST_REMEMBERED = 10_000
_MAX_NAME_CHARS = 100
_told: set[tuple[str, int, str]] = set()
_lock = Lock()


def tell(agent: AgentSpec, question: Question, session_id: str | None) -> None:
    """Log what the caller may not expect of these arguments."""
    for notice in _notices(agent, question, session_id):
        if _is_new((agent.schema, agent.id, notice)):
            logger.warning("Agent %r of schema %r: %s", agent.name, agent.schema, notice)


def forget() -> None:
    """Log everything once more; for tests."""
    _told.clear()


def _is_new(key: tuple[str, int, str]) -> bool:
    with _lock:
        if key in _told:
            return False
        if len(_told) >= _MOST_REMEMBERED:
            _told.clear()
        _told.add(key)
        return True


def _notices(agent: AgentSpec, question: Question, session_id: str | None) -> Iterator[str]:
    if session_id is not None and not agent.has_memory:
        yield (
            "session_id is given, and the agent has no memory: each run begins without history. Switch on "
            "short-term memory in the admin, or leave session_id out."
        )
    if agent.output_json_schema is not None and agent.output_schema != "json":
        yield (
            f"it has a JSON schema, and its output is {agent.output_schema}: answers are not checked. Set the "
            "output to JSON in the admin, or remove the schema."
        )
    sources = {"input": question.input, "variables": question.variables, "messages": question.messages}
    used, *unused = [name for name, value in sources.items() if value is not None] or [""]
    if unused:
        yield f"{' and '.join(unused)} beside {used} has no effect: only {used} is sent. Pass one of them."
    if question.system_variables is None and agent.system_prompt is not None:
        names = rendering.find_placeholders(agent.system_prompt.content or "")
        if names:
            yield (
                f"the system prompt {agent.system_prompt.name!r} has placeholders ({', '.join(names)}), and "
                "system_variables is not given: they are sent to the model unfilled. Pass system_variables."
            )
    used_variables = question.variables if used == "variables" else None
    yield from _query_sets("variables", used_variables)
    yield from _query_sets("system_variables", question.system_variables)


def _query_sets(argument: str, values: Mapping[str, Any] | None) -> Iterator[str]:
    names: list[str] = []
    with suppress(Exception):  # a mapping of the caller's own making may fail; rendering then says so
        names = [
            sanitize.shown(name, _MAX_NAME_CHARS)
            for name, value in (values or {}).items()
            if isinstance(value, QuerySet)
        ]
    for name in names:
        yield (
            f"{argument}[{name!r}] is a QuerySet: it is sent as its repr(), which shows at most 20 rows. Pass a "
            "list, or the text itself."
        )
