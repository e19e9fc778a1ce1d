"""Python in processes of its own, on the test's database, tenant and model server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

PREAMBLE = """
import django; django.setup()
from django.db import connection, transaction
from django.test.utils import override_settings
from tests.schemas import schema_context, set_schema
from zango_ai import get_agent
override_settings(ZANGO_AI={conf!r}).enable()
connection.settings_dict["NAME"] = {database!r}
with schema_context({schema!r}):
"""


@contextmanager
def child(code: str, *, schema: str = "north") -> Iterator[subprocess.Popen[str]]:
    """A process that executes ``code`` in the schema. It is gone when the block is left."""
    preamble = PREAMBLE.format(
        conf=settings.ZANGO_AI, database=connection.settings_dict["NAME"], schema=schema
    ).lstrip()
    body = "".join(f"    {line}\n" for line in code.strip().splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", preamble + body],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MEDIA_ROOT": str(settings.MEDIA_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    """What the process has printed, when it has ended well."""
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.strip()
