"""Python in processes of its own, on the test's database, tenant and model server.

They are forked from a process that has loaded Django, this package and litellm: to load them takes longer than most
of these tests.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Protocol, TextIO

from django.conf import settings
from django.db import connection

PREAMBLE = """
import django; django.setup()
from django.db import connection, transaction
from django.test.utils import override_settings
from tests.schemas import schema_context, set_schema
from zango_ai import get_agent
override_settings(ZANGO_AI={conf!r}, MEDIA_ROOT={media_root!r}).enable()
connection.settings_dict["NAME"] = {database!r}
with schema_context({schema!r}):
"""

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["tests.child_loads"])


class Child(Protocol):
    """A process. ``stdout`` is what it prints."""

    stdout: TextIO

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int:
        """Its return code, or minus the number of the signal that ended it."""


class _Forked:
    def __init__(self, code: str) -> None:
        reader, writer = forks.Pipe(duplex=False)
        self._process = forks.Process(target=_execute, args=(code, writer))
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()))
        reader.close()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"The process has not ended after {timeout} s")
        return self._process.exitcode


@contextmanager
def child(code: str, *, schema: str = "north") -> Iterator[Child]:
    """A process that executes ``code`` in the schema. It is gone when the block is left."""
    process = _Forked(_whole(code, schema))
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def new_interpreter(code: str, *, schema: str = "north") -> Iterator[Child]:
    """As ``child``, for what a fork does not show: how Python ends."""
    command = [sys.executable, "-c", _whole(code, schema)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process  # type: ignore[misc]
        finally:
            process.kill()


def said(process: Child) -> str:
    """What the process has printed, when it has ended well."""
    out = process.stdout.read()
    assert process.wait(120) == 0
    return out.strip()


def _whole(code: str, schema: str) -> str:
    preamble = PREAMBLE.format(
        conf=settings.ZANGO_AI,
        media_root=str(settings.MEDIA_ROOT),
        database=connection.settings_dict["NAME"],
        schema=schema,
    )
    return preamble.lstrip() + "".join(f"    {line}\n" for line in code.strip().splitlines())


def _execute(code: str, out: Connection) -> None:
    os.dup2(out.fileno(), 1)
    out.close()
    with open(1, "w", buffering=1, closefd=False) as sys.stdout:
        exec(compile(code, "<child>", "exec"), {"__name__": "__main__"})
