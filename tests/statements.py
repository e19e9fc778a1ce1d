"""The SQL statements that something takes."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


def statements(work: Callable[[], Any]) -> list[str]:
    """Those of the caller's connection and of the ledger's; BEGIN and COMMIT are none."""
    from django.db import connection

    from zango_ai.store import own_connection

    asked: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        asked.append(sql)
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for each in (connection, own_connection.own_connection()):
            stack.enter_context(each.execute_wrapper(note))
        work()
    return asked
