"""What is written when a run ends: each write is repeated while the database is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from django.db import Error

from .database_errors import may_be_temporary
from .run_columns import RunColumns

logger = logging.getLogger("zango_ai.ledger")

Write = Callable[[], object]
_RETRY_AFTER_S = (0.25, 0.5, 1.0, 2.0)
"""A database takes a few seconds to restart."""


class FinalWrites:
    """The writes that are due when the run ends or pauses, in order."""

    def __init__(self, row: RunColumns, writes: Iterable[Write]) -> None:
        self._row = row
        self._writes = list(writes)
        self._before_end: list[Write] = []
        self._only_at_end: list[Write] = []

    def add_before_end(self, write: Write) -> None:
        """Run the write first when the run ends; skip it when the run pauses or is queued again."""
        self._before_end.append(write)

    def add_first(self, write: Write) -> None:
        self._writes.insert(0, write)

    def add(self, write: Write, *, only_at_end: bool = False) -> None:
        """``only_at_end``: skip the write when the run pauses or is queued again."""
        (self._only_at_end if only_at_end else self._writes).append(write)

    def run_once(self) -> None:
        """Run the writes before the run pauses. Raises the database's error."""
        for write in self._writes:
            write()

    def run(self, *, is_end: bool) -> None:
        """Run the writes, and repeat those that fail while the database is away. Errors are logged."""
        remaining = list(self._writes)
        if is_end:
            remaining = [*self._before_end, *remaining, *self._only_at_end]
        for wait_s in _RETRY_AFTER_S:
            remaining = [write for write in remaining if not self._is_done(write)]
            if not remaining:
                return
            time.sleep(wait_s)
        for write in remaining:
            self._is_done(write, is_last_attempt=True)

    def _is_done(self, write: Write, *, is_last_attempt: bool = False) -> bool:
        """Whether the write has succeeded, or cannot succeed."""
        try:
            write()
        except (Error, ValueError, TypeError) as exc:
            if not is_last_attempt and may_be_temporary(exc):
                return False
            logger.exception("Could not write the end of run %s in %s", self._row.run_id, self._row.schema)
        return True
