"""The SQL statements that something takes."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any


def statements(work: Callable[[], Any]) -> list[str]:
    """Those of the caller's connection and of the ledger's; BEGIN and COMMIT are none."""
    from django.db import connection

    from zango_ai.database import ledger_connection

    asked: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        asked.append(sql)
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for each in (connection, ledger_connection.own_connection()):
            stack.enter_context(each.execute_wrapper(note))
        work()
    return asked


def refuse(
    patch: Any, error: Exception, *, when: Callable[[Mapping[str, Any]], bool], times: int | None = None
) -> None:
    """Have statements of the log fail whose parameters say so: so often, None: always. ``patch`` is monkeypatch."""
    from zango_ai.database import writer

    really, left = writer.execute_on, [times]

    def once(connection: Any, sql: str, params: Mapping[str, Any]) -> Any:
        if left[0] != 0 and when(params):
            left[0] = None if left[0] is None else left[0] - 1
            raise error
        return really(connection, sql, params)

    patch.setattr(writer, "execute_on", once)


def settles(params: Mapping[str, Any]) -> bool:
    """Whether a statement with these parameters settles a call."""
    return "charged" in params
