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
    """The running model server, as ``tests.build`` asks for it."""

    url = f"http://127.0.0.1:{PORT}"
    openai_base = f"{url}/v1"
    anthropic_base = url
    gemini_base = f"{url}/v1beta"


@contextmanager
def tenant(schema: str = "north", *, delay_s: float = 0.0) -> Iterator[Elsewhere]:
    """The schema is active inside the block."""
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
        from django_tenants.utils import schema_context
        from patients import setup

        call_command("migrate_schemas", schema_name="public", verbosity=0)
        setup.create_site(schema)
        server = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.server", "--port", str(PORT)]
        server += ["--delay", str(delay_s)]
        with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                allowed = {"ALLOWED_API_BASES": [Elsewhere.url]}
                with override_settings(ZANGO_AI=allowed, DEBUG=False), schema_context(schema):
                    yield Elsewhere()
            finally:
                process.terminate()
