"""What a READ_ONLY tool is refused, beside what PostgreSQL refuses in a read-only transaction.

This guards against mistakes. Code that means to get around it can: see docs/how-to/give-an-agent-tools.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_REFUSED = re.compile(
    r"""
      ^\s* (?: SET | RESET ) \s+ (?: (?: SESSION | LOCAL ) \s+ )? (?: ROLE | AUTHORIZATION ) \b
    | \b set_config \s* \( \s* ' (?: role | session_authorization ) '
    | \b pg_(?: try_ )? advisory_ \w+ \s* \(
    | \b pg_(?: terminate | cancel )_backend \s* \(
    | \b lo_export \s* \(
    | ^\s* COPY \b .* \b TO \s+ (?: PROGRAM \b | E? ' )
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


class NotReadOnly(Exception):
    """The tool is declared as READ_ONLY, and does more than reading."""


def refuse_hook(func: object, robust: bool = False) -> NoReturn:
    """In place of the connection's ``on_commit``: a hook runs after the commit, where it could write."""
    raise NotReadOnly(
        "A tool that is declared as READ_ONLY cannot use on_commit(). Declare it as safety=ToolSafety.WRITE."
    )


def refuse_statement(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """A wrapper of Django's ``execute_wrapper`` kind."""
    found = _REFUSED.search(_COMMENT.sub(" ", sql if isinstance(sql, str) else str(sql)))
    if found is not None:
        words = " ".join(found[0].split())[:40]
        raise NotReadOnly(
            f"A tool that is declared as READ_ONLY cannot execute {words!r}. Declare it as "
            "safety=ToolSafety.EXTERNAL."
        )
    return execute(sql, params, many, context)
