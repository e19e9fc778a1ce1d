"""The examples in docs/how-to/test.md run as they are pasted, in a project of a user's: a database of its own.

So do tests that misuse the kit: what they print is what a user sees.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from zango_ai.testing import ModelServer

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "how-to" / "test.md"
UNITTEST = "tests/test_unittest.py"
KEY = "sk-of-the-one-who-records"

MISUSED = """
from zango_ai import get_agent
from zango_ai.testing import calls, fails, says


def test_a_step_is_left(north, scripted_agent):
    scripted_agent("helper", says("One."), calls("find_person", name="Ada"))
    get_agent("helper").run("Hi.")


def test_a_step_is_missing(north, scripted_agent):
    scripted_agent("helper", says("One."))
    get_agent("helper").run("Hi.")
    get_agent("helper").run("And now?")


def test_the_application_hides_the_error(north, scripted_agent):
    scripted_agent("helper")
    try:
        get_agent("helper").run("Hi.")
    except Exception:
        pass


def test_a_queued_run_is_forgotten(north, scripted_agent):
    scripted_agent("helper", says("One."))
    get_agent("helper").enqueue("Hi.")


def test_a_wrong_expectation(north, scripted_agent):
    agent = scripted_agent("helper", says("One."))
    get_agent("helper").run("Hi.")
    agent.assert_asked("Hello.", temperature=0.1)


def test_a_reply_is_left(north, model_server):
    model_server.script(says("Never sent."))
"""
PLAIN = """
import django
import pytest

django.setup()

from django_tenants.utils import schema_context
from zango_ai import define_agent, define_provider, get_agent
from zango_ai.testing import RealProviderCall, says


def test_a_script_answers_and_real_calls_are_refused(scripted_agent):
    with schema_context("north"):
        scripted_agent("plain", says("Yes."))
        assert get_agent("plain").run("Open?").content == "Yes."
        key = {"api_key": "sk-1", "api_base": "https://models.invalid/v1"}
        define_provider("far", kind="openai_compatible", credentials=key, default_model="m")
        define_agent("other", provider="far")
        with pytest.raises(RealProviderCall):
            get_agent("other").run("Open?")
"""
SHOWN = [
    "script of agent 'helper' was not used up. The model was asked once. Left:\n  calls('find_person', name='Ada')",
    "'helper' asked its model twice, but its script has one step. Add what the model answers to this request:\n",
    "Agent 'helper' asked its model once, but its script has no step.",
    "A queued run was not executed: call run_enqueued().",
    "Agent 'helper' was not asked text='Hello.', temperature=0.1.",
    "Request 1 (differs: text, temperature is 0.7): scripted-model at provider 'scripted', no tools\n",
    "Captured requests of agent 'helper' call",
    "The script of the model server was not used up. It got 0 requests. Left:\n  200 'Never sent.'",
    "The request of agent 'helper' ('Metformin, 500 mg: how many a day?') differs from the recorded call in",
    "-  content: Answer in one sentence.\n",
    "record again: pytest tests/test_drifted.py::test_the_answer_names_the_dose --zango-ai-record=all",
]


def examples():
    """The page's Python files, by their paths."""
    blocks = re.findall(r"^```python\n# (tests/\w+\.py)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(blocks)


@pytest.fixture(scope="module")
def run(installed):
    """Run a command in a project, on the installed wheel. Returns the return code and the output."""
    return partial(run_on, installed)


def run_on(package, folder, *options, database="docs", **variables):
    """Each ``database`` is created by the first command that uses it."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    environment = {
        **os.environ,
        "DATABASE_URL": urlunsplit(parts._replace(path=f"/{database}_{os.getpid()}")),
        "PYTHONPATH": os.pathsep.join(map(str, (package, REPOSITORY / "example_project"))),
        "DJANGO_SETTINGS_MODULE": "clinic.settings",
        **variables,
    }
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path):
    """A project with the page's examples for pytest."""
    (tmp_path / "tests").mkdir()
    for name, text in examples().items():
        if name != UNITTEST:
            (tmp_path / name).write_text(text)
    return tmp_path


def test_the_examples_for_pytest_pass_as_pasted(project, run):
    """They are recorded, then replayed, and tests that misuse the kit are told why they fail."""
    common = ("pytest", "-c", os.devnull, "--rootdir", str(project), "-p", "no:cacheprovider", "-q")
    with_django = partial(run, project, *common, "--reuse-db", "-n", "1")
    require_recording(project, with_django)
    require_replay_and_reasons(project, with_django)
    require_no_pytest_django(project, partial(run, project, *common, "-p", "no:django", "-p", "no:xdist"))


def require_recording(project, run_pytest):
    recorded = project / "tests" / "test_recorded.py"
    text = recorded.read_text()
    # The page's provider is OpenAI. Here it is a server on this machine.
    recorded.write_text(text.replace('{"api_key": key}', '{"api_key": key, "api_base": os.environ["API_BASE"]}'))
    with ModelServer(answer=lambda seen: "Two a day, at most three a day.") as server:
        variables = {"ALLOWED_API_BASES": server.url, "API_BASE": server.openai_base, "OPENAI_API_KEY": KEY}
        code, said = run_pytest("--zango-ai-record=missing", "tests", **variables)
    assert code == 0, said
    assert f"{len(list(project.glob('tests/test_*.py')))} passed" in said
    (cassette,) = project.glob("tests/cassettes/test_recorded/*.yaml")
    assert f"zango_ai recorded {cassette}" in said
    assert KEY not in cassette.read_text()


def require_replay_and_reasons(project, run_pytest):
    tests = project / "tests"
    changed = (tests / "test_recorded.py").read_text().replace("in one sentence", "briefly")
    (tests / "test_drifted.py").write_text(changed)
    shutil.copytree(tests / "cassettes" / "test_recorded", tests / "cassettes" / "test_drifted")
    (tests / "test_misused.py").write_text(MISUSED)
    variables = {"ALLOWED_API_BASES": "http://127.0.0.1:9", "API_BASE": "http://127.0.0.1:9/v1"}

    names = ("test_recorded", "test_drifted", "test_misused")
    code, said = run_pytest(*(f"tests/{name}.py" for name in names), **variables)

    assert code == 1, said
    assert "7 failed, 1 passed" in said
    said = re.sub(r"^E {3}(?:zango_ai\.\S+: |AssertionError: | {5}(?=\S))?", "", said, flags=re.MULTILINE)
    assert [text for text in SHOWN if text not in said] == [], said


def require_no_pytest_django(project, run_pytest):
    """The kit needs Django, but not its plugin. The database is the one that was made for it."""
    (project / "plain").mkdir()
    (project / "plain" / "test_plain.py").write_text(PLAIN)
    parts = urlsplit(os.environ["DATABASE_URL"])
    url = urlunsplit(parts._replace(path=f"/test_docs_{os.getpid()}_gw0"))
    code, said = run_pytest("plain", DATABASE_URL=url)
    assert code == 0, said


def test_the_example_for_djangos_runner_passes_as_pasted(tmp_path, run):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    (tmp_path / UNITTEST).write_text(examples()[UNITTEST])
    code, said = run(tmp_path, "django", "test", "--noinput", "tests", database="django")
    assert code == 0, said
    assert "Ran 2 tests" in said


def test_a_project_without_django_notices_nothing_of_the_plugin(tmp_path, run):
    (tmp_path / "test_plain.py").write_text(
        "import sys\n\n\ndef test_nothing_is_imported():\n"
        "    loaded = {name for name in sys.modules if name.startswith(('django', 'litellm', 'zango_ai'))}\n"
        "    names = 'testing testing.plugin testing.tool_call providers providers.real_calls'.split()\n"
        "    assert loaded == {'zango_ai', *(f'zango_ai.{name}' for name in names)}\n"
    )
    plugins = [option for name in ("django", "schemathesis") for option in ("-p", f"no:{name}")]
    code, said = run(tmp_path, "pytest", "-c", os.devnull, "-W", "error", "--strict-markers", *plugins, "-q")
    assert code == 0, said
