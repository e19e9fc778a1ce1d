"""Install the package as its users do, and run the example on it in a folder outside of the repository.

    python3 tests/installed.py [--sdist] [--django 5.2] [--python PATH]

The sdist is built from the repository, and the wheel from the sdist. ``--sdist`` installs the sdist instead of the
wheel.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHERE = "import zango_ai, django, sys; print(zango_ai.__file__, sys.version.split()[0], django.__version__)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdist", action="store_true")
    parser.add_argument("--django", default="", help="for example 6.0 (default: the newest that pip finds)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to install for")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zango-ai-installed-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the PostgreSQL of the example does not run as root
        package = build(options.python, folder, ".tar.gz" if options.sdist else ".whl")
        python = environment(options.python, folder / "venv")
        django = [f"django~={options.django}.0"] if options.django else []
        install(python, f"{package}[example]", *django)
        run_example(python, folder)


def build(interpreter: str, folder: Path, suffix: str) -> Path:
    """Build sdist and wheel. Returns the one that ends in ``suffix``."""
    python = environment(interpreter, folder / "build")
    install(python, "build")
    subprocess.run(
        [python, "-m", "build", "--outdir", folder / "dist", ROOT], check=True, stdout=subprocess.DEVNULL
    )
    (package,) = (folder / "dist").glob(f"*{suffix}")
    return package


def environment(interpreter: str, folder: Path) -> Path:
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


def install(python: Path, *requirements: str) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)


def run_example(python: Path, folder: Path) -> None:
    shutil.copytree(ROOT / "example_project", folder / "project")
    variables = {**os.environ, "TMPDIR": str(folder)}
    for name in ("PYTHONPATH", "DATABASE_URL"):
        variables.pop(name, None)

    def run(*arguments: str | Path) -> str:
        command = [python, *arguments]
        return subprocess.run(
            command, cwd=folder / "project", env=variables, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    where = run("-c", WHERE)
    assert where.startswith(str(folder / "venv")), where
    run("-m", "pip", "check")
    run("manage.py", "check", "--fail-level", "ERROR")
    said = run("manage.py", "demo")
    assert said.endswith("north: adds up\nsouth: adds up\n"), said
    print("The demo ran on", where.strip())


if __name__ == "__main__":
    main()
