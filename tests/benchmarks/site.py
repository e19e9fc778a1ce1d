"""A tenant on a PostgreSQL of its own and the local model server in a process of its own, for a benchmark."""

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "example_project"
PORT = 18766


class Elsewhere:
    """A running model server, as ``tests.build`` asks for it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.openai_base = f"{self.url}/v1"
        self.anthropic_base = self.url
        self.gemini_base = f"{self.url}/v1beta"


@contextmanager
def model_server(*, port: int = PORT, delay_s: float = 0.0) -> Iterator[Elsewhere]:
    """The local model server, in a process of its own."""
    from django.test.utils import override_settings

    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.server"]
    command += ["--port", str(port), "--delay", str(delay_s)]
    server = Elsewhere(port)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            with override_settings(ZANGO_AI={"ALLOWED_API_BASES": [server.url]}):
                yield server
        finally:
            process.terminate()


@contextmanager
def project() -> Iterator[None]:
    """The example project on a PostgreSQL of its own, without a tenant."""
    sys.path.insert(0, str(EXAMPLE))
    warnings.simplefilter("ignore")
    from clinic import database

    with tempfile.TemporaryDirectory(prefix="zango-ai-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ["MEDIA_ROOT"] = folder
        os.environ["DATABASE_URL"] = database.start(Path(folder) / "postgres", keep=False)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings")
        import django

        django.setup()
        from django.core.management import call_command
        from django.test.utils import override_settings

        call_command("migrate_schemas", schema_name="public", verbosity=0)
        with override_settings(DEBUG=False):
            yield


def add_tenant(schema: str) -> None:
    from django_tenants.utils import schema_context
    from patients import setup

    with schema_context("public"):
        setup.create_site(schema)


@contextmanager
def tenant(schema: str = "north", *, delay_s: float = 0.0) -> Iterator[Elsewhere]:
    """A project with one tenant, which is active inside the block, and a model server."""
    with project(), model_server(delay_s=delay_s) as server:
        from django_tenants.utils import schema_context

        add_tenant(schema)
        with schema_context(schema):
            yield server
