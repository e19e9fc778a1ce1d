"""Statements that a READ_ONLY tool may not execute, although PostgreSQL allows them in a read-only transaction.

This guards against mistakes. Code that is meant to get around it can do so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_REFUSED = re.compile(
    r"""
      (?: ^ | ; ) \s* (?: SET | RESET ) \s+ (?: (?: SESSION | LOCAL ) \s+ )? (?: ROLE | AUTHORIZATION ) \b
    | \b set_config \s* \( \s* ' (?: role | session_authorization ) '
    | \b pg_(?: try_ )? advisory_ \w+ \s* \(
    | \b pg_(?: terminate | cancel )_backend \s* \(
    | \b lo_export \s* \(
    | (?: ^ | ; ) \s* COPY \b .* \b TO \s+ (?: PROGRAM \b | E? ' )
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


class NotReadOnly(Exception):
    """A tool that is declared as READ_ONLY tried to do more than read."""


def refuse_on_commit(func: object, robust: bool = False) -> NoReturn:
    """Replaces the connection's ``on_commit``: a hook runs after the commit, when it could write."""
    raise NotReadOnly("A READ_ONLY tool cannot use on_commit(). Declare it with safety=ToolSafety.WRITE.")


def refuse_statement(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """For Django's ``execute_wrappers``: execute the statement, or raise NotReadOnly."""
    match = _REFUSED.search(_COMMENT.sub(" ", sql if isinstance(sql, str) else str(sql)))
    if match is not None:
        excerpt = " ".join(match[0].split())[:40]
        raise NotReadOnly(
            f"A READ_ONLY tool cannot execute {excerpt!r}. Declare it with safety=ToolSafety.EXTERNAL."
        )
    return execute(sql, params, many, context)
