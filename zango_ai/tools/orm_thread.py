"""The transaction of an ``async def`` tool, and the thread in which its ORM calls are executed.

Django executes the ORM calls of async code in a thread. A new thread's connection has no tenant, and each call
would be a transaction of its own. So a tool gets a thread, with one connection in the run's tenant and one
transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext
from django.db import connections, transaction
from psycopg.pq import TransactionStatus

from .. import tenancy
from . import read_only
from .borrowed_connection import READ_ONLY, TransactionBroken

T = TypeVar("T")

_END_TIMEOUT_S = 5.0
_POLL_S = 0.05
_CANCEL_TIMEOUT_S = 2.0


class ToolTransaction:
    """Begins and ends in the thread of the tool's ORM calls."""

    def __init__(self, tenant: Any, *, is_read_only: bool, is_atomic: bool) -> None:
        self._tenant = tenant
        self._is_read_only, self._is_atomic = is_read_only, is_atomic
        self._connection: Any = None
        self._exits = ExitStack()

    def begin(self) -> None:
        connection: Any = tenancy.connection()
        self._connection = connection
        with ExitStack() as exits:
            exits.enter_context(tenancy.made_active(self._tenant))
            if self._is_read_only or self._is_atomic:
                exits.enter_context(transaction.atomic(using=connection.alias))
            if self._is_read_only:
                with tenancy.bare_cursor(connection, READ_ONLY) as cursor:
                    cursor.execute(READ_ONLY)
                connection.search_path_set_schemas = None  # the rollback may undo what is set from now on
                exits.enter_context(connection.execute_wrapper(read_only.refuse_statement))
                connection.on_commit = read_only.refuse_on_commit
                exits.callback(lambda: connection.__dict__.pop("on_commit", None))
            self._exits = exits.pop_all()

    def end(self, *, is_failed: bool) -> None:
        """Commit, or roll back. Raises TransactionBroken, and the database's errors of the commit."""
        connection = self._connection
        is_open = self._is_read_only or self._is_atomic
        is_broken = is_open and not is_failed and self._is_broken()
        if is_open and (is_failed or is_broken or self._is_read_only):
            transaction.set_rollback(True, using=connection.alias)
        try:
            self._exits.close()
        finally:
            connection.search_path_set_schemas = None
        if is_broken:
            raise TransactionBroken

    async def cancel_statements(self, ending: asyncio.Future[None]) -> None:
        """Wait until the transaction has ended, and cancel the statements that it waits for meanwhile."""
        deadline = time.monotonic() + _END_TIMEOUT_S
        while not ending.done() and time.monotonic() < deadline:
            await asyncio.wait({ending}, timeout=_POLL_S)
            if not ending.done() and self._has_active_statement():
                await asyncio.to_thread(self._cancel_statement)
        ending.add_done_callback(lambda future: future.cancelled() or future.exception())

    def _has_active_statement(self) -> bool:
        raw = None if self._connection is None else self._connection.connection
        return raw is not None and raw.info.transaction_status == TransactionStatus.ACTIVE

    def _cancel_statement(self) -> None:
        with suppress(Exception):
            self._connection.connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)

    def _is_broken(self) -> bool:
        connection = self._connection
        raw = connection.connection
        return connection.needs_rollback or (
            raw is not None and raw.info.transaction_status == TransactionStatus.INERROR
        )


class OrmThread(ThreadPoolExecutor):
    """An async context manager: inside, thread-sensitive calls go to one thread, which starts with the first."""

    def __init__(self, tool_transaction: ToolTransaction, *, lent: Any = None) -> None:
        """``lent`` is a connection to use in place of a new one."""
        super().__init__(max_workers=1, thread_name_prefix="zango-ai-orm")
        self._transaction, self._lent = tool_transaction, lent
        self._exits = ExitStack()
        self._has_begun = False
        self._context = ThreadSensitiveContext()
        self._undo = ExitStack()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return super().submit(self._in_transaction, fn, *args, **kwargs)

    def _in_transaction(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if not self._has_begun:
            if self._lent is not None:
                self._exits.enter_context(tenancy.lent(self._lent))
            self._transaction.begin()
            self._has_begun = True
        return function(*args, **kwargs)

    async def __aenter__(self) -> ToolTransaction:
        SyncToAsync.context_to_thread_executor[self._context] = self
        token = SyncToAsync.thread_sensitive_context.set(self._context)
        self._undo.callback(SyncToAsync.thread_sensitive_context.reset, token)
        # asgiref prefers the thread of an outer async_to_sync().
        outer = getattr(AsyncToSync.executors, "current", None)
        AsyncToSync.executors.current = None
        self._undo.callback(setattr, AsyncToSync.executors, "current", outer)
        return self._transaction

    async def __aexit__(self, exc_type: Any, exc: Any, traceback: Any) -> None:
        self._undo.close()
        SyncToAsync.context_to_thread_executor.pop(self._context, None)
        if not self._has_begun:
            self.shutdown(wait=False)
            return
        ending = asyncio.wrap_future(super().submit(self._end, exc is not None))
        self.shutdown(wait=False)
        if exc is None:
            await ending
        else:
            await self._transaction.cancel_statements(ending)

    def _end(self, is_failed: bool) -> None:
        try:
            self._transaction.end(is_failed=is_failed)
        finally:
            self._exits.close()
            connections.close_all()
