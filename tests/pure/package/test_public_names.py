"""What a program sees of the package before it runs an agent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import zango_ai
import zango_ai.testing
from zango_ai import LLMMessage, exceptions


def test_every_name_of_the_face_loads():
    for name in zango_ai.__all__:
        assert getattr(zango_ai, name)
    with pytest.raises(AttributeError, match="no attribute 'get_agnet'"):
        zango_ai.get_agnet  # noqa: B018


VENDORS = ["litellm", "openai", "anthropic", "celery.worker", "boto3", "opentelemetry"]
OF_RUNS = ["httpx", "jsonschema", "zango_ai.types"]


@pytest.mark.parametrize(
    ("code", "late"), [("import zango_ai", VENDORS + OF_RUNS), ("zango_ai.get_agent", VENDORS)]
)
def test_starting_django_loads_no_litellm_no_celery_worker_no_vendor_and_nothing_of_runs(code, late):
    code = (
        f"import django, sys; django.setup(); import zango_ai; {code};"
        f"print([m for m in {late} if m in sys.modules])"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[]"


def test_all_errors_are_under_one_and_carry_an_invocation_id():
    errors = [e for e in vars(exceptions).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(errors) > 10
    assert all(issubclass(error, exceptions.ZangoAIError) for error in errors)
    assert all(error.invocation_id is None for error in errors)
    assert issubclass(exceptions.InputRequired, ValueError)


def test_a_message_with_a_wrong_role_says_which_there_are():
    with pytest.raises(ValueError, match="system, user, assistant, tool"):
        LLMMessage("robot", "x")
    with pytest.raises(TypeError, match="pass the text as a str"):
        LLMMessage("user", 5)


def test_the_model_server_prints_what_to_paste():
    command = [sys.executable, "-m", "zango_ai.testing.model_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            lines = [server.stdout.readline().rstrip("\n") for _ in range(5)]
        finally:
            server.terminate()
    url = lines[1].partition('["')[2].partition('"')[0]
    page = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "test.md"
    assert "\n".join(lines).replace(url, "http://127.0.0.1:8765") in page.read_text()


def test_the_model_server_starts_as_a_module_without_a_warning():
    command = [sys.executable, "-W", "error", "-m", "zango_ai.testing.model_server", "--help"]
    seen = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (seen.returncode, seen.stderr) == (0, "")
    assert "--port" in seen.stdout
    with pytest.raises(AttributeError, match="no attribute 'ModelSever'"):
        zango_ai.testing.ModelSever  # noqa: B018
