"""Store the chunks of a streamed run while it works, for readers in other processes."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from uuid import UUID

from django.db import Error

from .. import interruption, tenancy
from ..database import writer
from ..ledger import cancellation, stored_chunks
from ..ledger.recorder import RunRecorder
from ..types import LLMStreamChunk

logger = logging.getLogger("zango_ai.agent")

_INTERVAL_S = 0.1
"""Text that arrives within this time is stored as one chunk."""
_RETRY_AFTER_S = 1.0
_SILENCE_S = 1.0
"""While the model writes nothing, the database is asked this often whether the run has been cancelled."""


@contextmanager
def store_chunks(recorder: RunRecorder, *, has_paused: bool) -> Iterator[ChunkWriter]:
    """A writer that has stored all its chunks before the run ends or pauses.

    ``has_paused``: the run waited for an approval. Its readers have seen a ``final`` chunk, which is not stored, so
    its number is not used again.
    """
    schema, run_id = recorder.schema, recorder.run_id
    position = stored_chunks.position(schema, run_id)
    chunks = ChunkWriter(schema, run_id, position.last_number + has_paused, has_open_text=position.has_open_text)
    recorder.write_first(chunks.flush)
    chunks.start()
    try:
        with chunks.raising_cancellation():
            yield chunks
    finally:
        chunks.stop()
        with suppress(Error):  # the readers also look by themselves
            stored_chunks.notify(schema, run_id)


class ChunkWriter:
    """Numbers the chunks of one run, and stores them in batches in a thread of its own.

    The thread stores the first chunk at once, and the text of a model that has fallen silent. It also notices when
    somebody cancels the run.
    """

    def __init__(self, schema: str, run_id: UUID, last_number: int, *, has_open_text: bool) -> None:
        self.has_open_text = has_open_text
        """Whether an earlier attempt of the run has stored text of the round that comes next."""
        self._schema, self._run_id, self._last_number = schema, run_id, last_number
        self._pending: list[LLMStreamChunk] = []
        self._unwritten: list[LLMStreamChunk] = []
        """The batch that is being written. It does not change, because it may have been stored already."""
        self._lock, self._write_lock = threading.Lock(), threading.Lock()
        self._has_pending, self._is_stopped = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._flushed_at = 0.0
        self._cancellation = threading.Event()

    @contextmanager
    def raising_cancellation(self) -> Iterator[None]:
        """Interrupt the block once somebody cancels the run. Raises RunCancelled then."""
        with interruption.by(self._cancellation):
            try:
                yield
            except asyncio.CancelledError:
                if not self._cancellation.is_set():
                    raise
                raise cancellation.error(self._run_id) from None

    def start(self) -> None:
        """Inside a test's transaction there is no thread: no other connection sees the run."""
        if not writer.is_in_test_transaction():
            self._thread = threading.Thread(target=self._flush_regularly, name="zango_ai chunks", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._is_stopped.set()
        self._has_pending.set()
        if self._thread is not None:
            self._thread.join()

    def add(self, chunk: LLMStreamChunk) -> None:
        """Raises CancelledError if somebody has cancelled the run."""
        with self._lock:
            last = self._pending[-1] if self._pending else None
            if last is not None and last.type == chunk.type == "text":
                self._pending[-1] = replace(last, text=last.text + chunk.text)
            else:
                self._last_number += 1
                self._pending.append(replace(chunk, number=self._last_number))
        self._has_pending.set()
        if self._cancellation.is_set():
            raise asyncio.CancelledError
        if self._thread is None and time.monotonic() - self._flushed_at > _INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Store what is pending. Raises the database's error; the next call tries again."""
        with self._write_lock:
            with self._lock:
                self._unwritten += self._pending
                self._pending = []
            if self._unwritten:
                self._note_cancellation(stored_chunks.write(self._schema, self._run_id, self._unwritten))
                self._unwritten, self._flushed_at = [], time.monotonic()

    def _note_cancellation(self, is_cancelled: bool) -> None:
        if is_cancelled:
            self._cancellation.set()

    def _flush_regularly(self) -> None:
        try:
            while True:
                is_silent = not self._has_pending.wait(_SILENCE_S)
                if self._is_stopped.is_set():
                    return
                self._has_pending.clear()
                try:
                    self.flush()
                    if is_silent:
                        self._note_cancellation(cancellation.is_requested(self._schema, self._run_id))
                except Error:
                    logger.exception("Could not store chunks of run %s in %s", self._run_id, self._schema)
                    self._has_pending.set()
                    self._is_stopped.wait(_RETRY_AFTER_S)
                self._is_stopped.wait(_INTERVAL_S)
        finally:
            tenancy.connection().close()
