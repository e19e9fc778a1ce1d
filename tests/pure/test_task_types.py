"""What type checkers say of calls that queue a task: ``delay()`` takes what ``run()`` takes."""

import re
import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).parents[1] / "typed_tasks.py"


def test_mypy_holds_the_arguments_of_delay_against_run(tmp_path):
    options = ["--strict", "--config-file=", "--cache-dir", str(tmp_path), "--follow-imports=silent"]
    options += ["--ignore-missing-imports", "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, str(SAMPLE)]
    done = subprocess.run(command, cwd=SAMPLE.parents[1], capture_output=True, text=True, timeout=240)
    told = {int(number) for number in re.findall(rf"{SAMPLE.name}:(\d+): error", done.stdout)}
    lines = enumerate(SAMPLE.read_text().splitlines(), start=1)
    assert told == {number for number, line in lines if "# wrong" in line}, done.stdout + done.stderr
