"""Inside a test's transaction: write the log again after a rollback of the code under test.

In production, the ledger has a connection of its own, so its rows survive the caller's rollback. Inside
``TestCase`` there is only one connection, and rolling back the caller's ``atomic()`` deletes the rows of the
ledger as well. This module keeps each of the ledger's statements in memory and executes it again after such a
rollback, so a test sees what production does. The rollback at the end of the test deletes everything.
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
    """The outermost ``atomic()`` block of the test case that the journal belongs to."""
    test_depth: int = 0
    """How many of the open blocks are the test case's own."""
    items: list[str | tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """In order: ids of savepoints, and statements with their parameters."""


def keep(connection: BaseDatabaseWrapper, sql: str, params: Mapping[str, Any]) -> None:
    """Execute the statement again after each rollback of the code under test."""
    journal = _journal_of(connection)
    journal.test_depth = sum(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
    journal.items.append((sql, params))


def _journal_of(connection: BaseDatabaseWrapper) -> _Journal:
    journal: _Journal | None = getattr(connection, _JOURNAL, None)
    if _WATCHED not in vars(connection):  # a tool's borrowed connection shares the journal, and needs its own watch
        vars(connection)[_WATCHED] = True
        _watch_savepoints(connection)
    if journal is None or journal.outermost is not connection.atomic_blocks[0]:
        journal = _Journal(connection.atomic_blocks[0])
        setattr(connection, _JOURNAL, journal)
    return journal


def _watch_savepoints(connection: Any) -> None:
    """Record each savepoint of the connection, and replay after a rollback to one."""
    set_savepoint, roll_back = connection._savepoint, connection.savepoint_rollback

    def _savepoint(sid: str) -> None:
        set_savepoint(sid)
        if connection.atomic_blocks:
            _journal_of(connection).items.append(sid)

    def savepoint_rollback(sid: str) -> None:
        roll_back(sid)
        if connection.atomic_blocks:
            _replay_after(connection, sid)

    connection._savepoint = _savepoint
    connection.savepoint_rollback = savepoint_rollback


def _replay_after(connection: BaseDatabaseWrapper, sid: str) -> None:
    journal = _journal_of(connection)
    # A savepoint that is not in the journal was set before the first write.
    start = journal.items.index(sid) + 1 if sid in journal.items else 0
    undone = [item for item in journal.items[start:] if not isinstance(item, str)]
    del journal.items[start:]
    # Django removes a block from its list before it rolls the block back.
    if len(connection.atomic_blocks) < journal.test_depth:
        return
    journal.items.extend(statement for statement in undone if _replay(connection, *statement))


def _replay(connection: BaseDatabaseWrapper, sql: str, params: Mapping[str, Any]) -> bool:
    """Execute the statement again; False if it fails, for example because its tenant was rolled back as well."""
    with tenancy.bare_cursor(connection, sql) as cursor:
        cursor.execute("SAVEPOINT zango_ai_replay")
        try:
            cursor.execute(sql, params)
        except DatabaseError:
            cursor.execute("ROLLBACK TO SAVEPOINT zango_ai_replay")
            return False
        finally:
            cursor.execute("RELEASE SAVEPOINT zango_ai_replay")
        return True
