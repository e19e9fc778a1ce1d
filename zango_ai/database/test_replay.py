"""The log's writes inside a test's transaction, repeated after a rollback of the code under test.

In production the log is on a connection of its own, and stays when the caller's transaction rolls back. Inside
``TestCase`` there is one connection, and a caller's ``atomic()`` that fails would take the log with it. So each
write is kept in memory here, and made again after such a rollback: a test sees what production does. The test's
own rollback, at its end, takes everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError

from .. import tenancy

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_JOURNAL = "_zango_ai_journal"
_WATCHED = "_zango_ai_watched"


@dataclass(slots=True)
class _Journal:
    outermost: object
    """The block that it belongs to: the outermost of one test case."""
    test_depth: int = 0
    """How many of the open blocks are the test case's own."""
    items: list[str | tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """In order: the id of a savepoint that was set, or a statement that was executed."""


def remember(connection: BaseDatabaseWrapper, sql: str, params: Mapping[str, Any]) -> None:
    journal = _journal_of(connection)
    journal.test_depth = sum(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
    journal.items.append((sql, params))


def _journal_of(connection: BaseDatabaseWrapper) -> _Journal:
    journal: _Journal | None = getattr(connection, _JOURNAL, None)
    if _WATCHED not in vars(connection):  # also a wrapper that was lent to a tool, with its caller's journal
        vars(connection)[_WATCHED] = True
        _watch_savepoints(connection)
    if journal is None or journal.outermost is not connection.atomic_blocks[0]:
        journal = _Journal(connection.atomic_blocks[0])
        setattr(connection, _JOURNAL, journal)
    return journal


def _watch_savepoints(connection: Any) -> None:
    """Have the connection say when a savepoint is set and when one is rolled back to."""
    set_savepoint, roll_back = connection._savepoint, connection.savepoint_rollback

    def _savepoint(sid: str) -> None:
        set_savepoint(sid)
        if connection.atomic_blocks:
            _journal_of(connection).items.append(sid)

    def savepoint_rollback(sid: str) -> None:
        roll_back(sid)
        if connection.atomic_blocks:
            _repeat_after(connection, sid)

    connection._savepoint = _savepoint
    connection.savepoint_rollback = savepoint_rollback


def _repeat_after(connection: BaseDatabaseWrapper, sid: str) -> None:
    journal = _journal_of(connection)
    # A savepoint that is not listed was set before the first write.
    start = journal.items.index(sid) + 1 if sid in journal.items else 0
    lost = [item for item in journal.items[start:] if not isinstance(item, str)]
    del journal.items[start:]
    # Django takes a block off its list before it rolls the block back.
    if len(connection.atomic_blocks) < journal.test_depth:
        return
    journal.items.extend(item for item in lost if _again(connection, *item))


def _again(connection: BaseDatabaseWrapper, sql: str, params: Mapping[str, Any]) -> bool:
    """Execute once more. What no longer fits is dropped: its tenant, say, was rolled back as well."""
    with tenancy.bare_cursor(connection, sql) as cursor:
        cursor.execute("SAVEPOINT zango_ai_again")
        try:
            cursor.execute(sql, params)
        except DatabaseError:
            cursor.execute("ROLLBACK TO SAVEPOINT zango_ai_again")
            return False
        finally:
            cursor.execute("RELEASE SAVEPOINT zango_ai_again")
        return True
