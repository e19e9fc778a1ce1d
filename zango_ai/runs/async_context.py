"""Where the synchronous parts of an async run are executed: in a thread, in the caller's tenant and transaction.

- Usually in a small pool of threads, each with a connection of its own. A thread is used for milliseconds: not
  while the provider works.
- Inside the caller's transaction, which may be a test's: in asgiref's thread-sensitive thread, which has the
  connection, or with the connection of the event loop's own thread.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, TypeVar

from asgiref.sync import sync_to_async

from .. import tenancy
from ..tools.orm_thread import OrmThread, ToolTransaction
from .worker_threads import WorkerThreads, carry_out

T = TypeVar("T")

STEP_THREADS = 8
TOOL_THREADS = 32
_steps = WorkerThreads("zango-ai-step", STEP_THREADS)
_tools = WorkerThreads("zango-ai-sync-tool", TOOL_THREADS)

_locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()
"""For a shared connection: one step or tool at a time."""
_holds_lock: ContextVar[bool] = ContextVar("zango_ai_holds_connection_lock", default=False)


class AsyncContext:
    """The tenant of one async call, and the threads that it uses."""

    def __init__(self, tenant: Any) -> None:
        self._tenant = tenant

    def in_use(self) -> AbstractContextManager[None]:
        """Around everything that the call does."""
        return _steps.in_use()

    async def run(self, function: Callable[[], T]) -> T:
        """Call the function in a thread. If the task is cancelled meanwhile, the function is completed first."""
        result, cancellation = await self.complete(function)
        if cancellation is not None:
            raise cancellation
        return result

    async def complete(self, function: Callable[[], T]) -> tuple[T, asyncio.CancelledError | None]:
        """The function's result, and the cancellation of the task if there was one meanwhile."""
        return await self._complete(function, _steps)

    async def run_tool(self, function: Callable[[], T]) -> T:
        """The same, for a function that takes long and uses the ORM."""
        with _tools.in_use():
            result, cancellation = await self._complete(function, _tools)
        if cancellation is not None:
            raise cancellation
        return result

    async def _complete(
        self, function: Callable[[], T], threads: WorkerThreads
    ) -> tuple[T, asyncio.CancelledError | None]:
        """Call the function to its end, also if the running task is cancelled.

        An event loop that ends cancels each of its tasks, and so the one that calls the function, too. The thread
        does not notice. Then a new task waits for the function, or calls it if no thread has begun.
        """
        once = _Once(function)
        task = asyncio.ensure_future(self._call(once, threads))
        cancellation = None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as exc:
                cancellation = exc
            if task.cancelled() and not once.has_ended:
                task = asyncio.ensure_future(self._call(once, threads))
        return once.result() if task.cancelled() else task.result(), cancellation

    def tool_transaction(
        self, *, is_read_only: bool, is_atomic: bool
    ) -> AbstractAsyncContextManager[ToolTransaction]:
        """Around an ``async def`` tool: its ORM calls go to one thread, in the run's tenant and a transaction."""
        return OrmThread(ToolTransaction(self._tenant, is_read_only=is_read_only, is_atomic=is_atomic))

    async def _call(self, function: Callable[[], T], threads: WorkerThreads) -> T:
        executor: Any = threads  # asgiref only calls its submit()
        return await sync_to_async(partial(self._in_tenant, function), thread_sensitive=False, executor=executor)()

    def _in_tenant(self, function: Callable[[], T]) -> T:
        with tenancy.made_active(self._tenant):
            return function()


class _Shared(AsyncContext):
    """Inside a transaction: all steps and tools of this event loop take turns on its connection."""

    async def run_tool(self, function: Callable[[], T]) -> T:
        return await self.run(function)

    def _turn(self) -> AbstractAsyncContextManager[Any]:
        if _holds_lock.get():
            return nullcontext()
        loop = asyncio.get_running_loop()
        return _locks.setdefault(loop, asyncio.Lock())

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        """Keep the turn for a tool, and let the tool's own runs take theirs within it."""
        async with self._turn():
            token = _holds_lock.set(True)
            try:
                yield
            finally:
                _holds_lock.reset(token)


class _CallersThread(_Shared):
    """The transaction is that of the thread-sensitive thread."""

    async def _call(self, function: Callable[[], T], threads: WorkerThreads) -> T:
        """If that thread has ended, and its transaction with it, one of ``threads`` settles the run."""
        has_begun = False

        def call() -> T:
            nonlocal has_begun
            has_begun = True
            return self._in_tenant(function)

        async with self._turn():
            try:
                return await sync_to_async(call)()
            except RuntimeError:
                if has_begun:
                    raise
            return await super()._call(function, threads)

    @asynccontextmanager
    async def tool_transaction(self, *, is_read_only: bool, is_atomic: bool) -> AsyncIterator[ToolTransaction]:
        transaction = ToolTransaction(self._tenant, is_read_only=is_read_only, is_atomic=is_atomic)
        async with self._held():
            await self.run(transaction.begin)
            try:
                yield transaction
            except BaseException:
                ending = asyncio.ensure_future(self.run(partial(transaction.end, is_failed=True)))
                await transaction.cancel_statements(ending)
                raise
            await self.run(partial(transaction.end, is_failed=False))


class _LentConnection(_Shared):
    """The transaction is that of the event loop's own thread: other threads borrow its connection."""

    def __init__(self, tenant: Any, connection: Any) -> None:
        super().__init__(tenant)
        self._connection = connection

    async def _call(self, function: Callable[[], T], threads: WorkerThreads) -> T:
        async with self._turn():
            return await super()._call(function, threads)

    def _in_tenant(self, function: Callable[[], T]) -> T:
        with tenancy.lent(self._connection):
            return super()._in_tenant(function)

    @asynccontextmanager
    async def tool_transaction(self, *, is_read_only: bool, is_atomic: bool) -> AsyncIterator[ToolTransaction]:
        transaction = ToolTransaction(self._tenant, is_read_only=is_read_only, is_atomic=is_atomic)
        async with self._held(), OrmThread(transaction, lent=self._connection):
            yield transaction


def of_event_loop() -> AsyncContext | None:
    """The context of the running task or of the event loop's thread. None if no tenant is active there.

    Without tenants, only a transaction of the event loop's thread counts. Otherwise, the context may be that of the
    thread-sensitive thread, which may have a transaction too.
    """
    tenant = tenancy.tenant_of_task()
    connection = tenancy.connection_around_event_loop()
    if connection is not None and connection.in_atomic_block:
        return _LentConnection(tenant or tenancy.active_tenant_of(connection), connection)
    if tenant is None and connection is not None and tenancy.has_tenants():
        tenant = tenancy.active_tenant_of(connection)
    return None if tenant is None or tenancy.is_public(tenant.schema_name) else AsyncContext(tenant)


async def of_caller() -> AsyncContext:
    """That of ``of_event_loop()``, else that of ``of_sensitive_thread()``, as in a request."""
    return of_event_loop() or await of_sensitive_thread()


async def of_sensitive_thread() -> AsyncContext:
    """The context of the thread in which Django's synchronous middleware has activated the tenant."""
    tenant, is_in_transaction = await sync_to_async(_tenant_and_transaction)()
    return _CallersThread(tenant) if is_in_transaction else AsyncContext(tenant)


def _tenant_and_transaction() -> tuple[Any, bool]:
    connection = tenancy.connection()
    return tenancy.active_tenant_of(connection), connection.in_atomic_block


class _Once(Generic[T]):
    """A function that is called once, by the first thread that calls this. The others wait for its result."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._first = threading.Lock()
        self._outcome: Future[T] = Future()

    def __call__(self) -> T:
        if self._first.acquire(blocking=False):
            carry_out(self._outcome, self._function)
        return self._outcome.result()

    @property
    def has_ended(self) -> bool:
        return self._outcome.done()

    def result(self) -> T:
        return self._outcome.result()
