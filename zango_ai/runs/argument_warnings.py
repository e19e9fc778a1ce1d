"""Warn in the log about arguments that have no effect or a surprising one: once per process and agent."""

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
from .arguments import RunRequest

logger = logging.getLogger("zango_ai.agent")

_MAX_LOGGED = 10_000
_MAX_NAME_CHARS = 100
_logged: set[tuple[str, int, str]] = set()
_lock = Lock()


def log_warnings(agent: AgentSpec, request: RunRequest) -> None:
    """Log each warning that this process has not logged for this agent."""
    for warning in _warnings(agent, request):
        if _is_new((agent.schema, agent.id, warning)):
            logger.warning("Agent %r of schema %r: %s", agent.name, agent.schema, warning)


def forget() -> None:
    """Log every warning again. For tests."""
    _logged.clear()


def _is_new(key: tuple[str, int, str]) -> bool:
    with _lock:
        if key in _logged:
            return False
        if len(_logged) >= _MAX_LOGGED:
            _logged.clear()
        _logged.add(key)
        return True


def _warnings(agent: AgentSpec, request: RunRequest) -> Iterator[str]:
    if request.session_id is not None and not agent.has_memory:
        yield (
            "session_id has no effect, because the agent has no memory. Enable short-term memory in the admin, or "
            "leave session_id out."
        )
    if agent.output_json_schema is not None and agent.output_schema != "json":
        yield (
            f"answers are not validated, because the output is {agent.output_schema} and not JSON. Set the output "
            "to JSON in the admin, or remove the JSON schema."
        )
    sources = {"input": request.input, "variables": request.variables, "messages": request.messages}
    used, *unused = [name for name, value in sources.items() if value is not None] or [""]
    if unused:
        yield f"{' and '.join(unused)} beside {used} has no effect: only {used} is sent. Pass one of them."
    if request.system_variables is None and agent.system_prompt is not None:
        names = rendering.find_placeholders(agent.system_prompt.content or "")
        if names:
            yield (
                f"the system prompt {agent.system_prompt.name!r} has placeholders ({', '.join(names)}) that are "
                "sent to the model as they are, because system_variables is not passed. Pass system_variables."
            )
    used_variables = request.variables if used == "variables" else None
    yield from _query_set_warnings("variables", used_variables)
    yield from _query_set_warnings("system_variables", request.system_variables)


def _query_set_warnings(argument: str, values: Mapping[str, Any] | None) -> Iterator[str]:
    names: list[str] = []
    with suppress(Exception):  # a caller's own mapping class may raise; rendering then reports it
        names = [
            sanitize.shown(name, _MAX_NAME_CHARS)
            for name, value in (values or {}).items()
            if isinstance(value, QuerySet)
        ]
    for name in names:
        yield (
            f"{argument}[{name!r}] is a QuerySet: its repr() is sent, which shows at most 20 rows. Pass a list or "
            "the text itself."
        )
