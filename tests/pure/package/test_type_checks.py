"""What mypy and pyright report about an application's calls, and what ``help()`` shows of them."""

import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tests import javascript
from zango_ai import agent
from zango_ai.runs.arguments import RunArguments, RunRequest

TESTS = Path(__file__).parents[2]


def test_mypy_reports_the_wrong_calls_and_no_others(tmp_path):
    samples = [TESTS / f"typed_{name}.py" for name in ("app", "runs", "tasks", "scripts")]
    options = ["--strict", "--config-file=", "--cache-dir", str(tmp_path), "--follow-imports=silent"]
    options += ["--ignore-missing-imports", "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, *map(str, samples)]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=240)
    for sample in samples:
        reported = {int(number) for number in re.findall(rf"{sample.name}:(\d+): error", done.stdout)}
        assert reported == wrong_lines(sample), done.stdout + done.stderr


def test_pyright_reports_the_wrong_calls_of_an_application_and_no_others(tmp_path):
    sample = TESTS / "typed_app.py"
    config = {
        "typeCheckingMode": "strict",
        "include": [os.path.relpath(sample, tmp_path)],
        "extraPaths": [str(TESTS.parent)],
        "reportUnusedExpression": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    javascript.install()
    pyright = javascript.HERE / "node_modules" / "pyright" / "index.js"
    command = ["node", pyright, "-p", tmp_path, "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert {each["range"]["start"]["line"] + 1 for each in found} == wrong_lines(sample), found


def wrong_lines(sample):
    lines = enumerate(sample.read_text().splitlines(), start=1)
    return {number for number, line in lines if "# wrong" in line}


@pytest.mark.parametrize(("method", "own"), [(agent.Agent.run, []), (agent.Agent.enqueue, ["stream"])])
def test_the_signature_lists_each_argument_with_its_type_and_default(method, own):
    parameters = inspect.signature(method).parameters
    assert list(parameters) == ["self", "input", *own, *RunArguments.__annotations__]
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in RunArguments.__annotations__)
    assert (parameters["user_ref"].default, parameters["session_id"].default) == ("", None)
    assert parameters["max_tokens"].annotation == int | None


def test_the_request_has_a_field_for_each_argument():
    internal = {"input", "default_trigger", "overrides", "base_overrides"}
    assert {each.name for each in fields(RunRequest)} - internal == set(RunArguments.__annotations__)


@pytest.mark.parametrize("method", ["run", "enqueue"])
@pytest.mark.parametrize("name", ["sesion_id", "default_trigger", "overrides"])
def test_an_unknown_keyword_is_a_type_error_that_suggests_the_right_one(method, name):
    with pytest.raises(TypeError) as caught:
        getattr(agent.Agent("helper", "north"), method)("Hello", **{name: "s"})
    assert str(caught.value).startswith(f"{method}() got an unexpected keyword argument '{name}'.")
    assert ("Did you mean 'session_id'?" in str(caught.value)) == (name == "sesion_id")
