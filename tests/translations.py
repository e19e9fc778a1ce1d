"""Update the translations: ``python -m tests.translations``. Needs GNU gettext.

Collects the texts of the admin into each ``zango_ai/locale/*/LC_MESSAGES/django.po`` and compiles the ``.mo``
files, which the package ships. A new text comes without a translation: write it into the ``.po`` file, then run
this again. For a new language, create its folder first.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = sorted(folder.name for folder in (ROOT / "zango_ai" / "locale").iterdir())
_DATED = '"POT-Creation-Date:'


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        package = copy_package(Path(folder))
        for language in LANGUAGES:
            collect(package, language)
            catalog = catalog_of(language)
            shutil.copyfile(catalog_of(language, package), catalog)
            print(catalog.relative_to(ROOT), problems_of(catalog) or "complete")
            run("msgfmt", "-o", str(catalog.with_suffix(".mo")), str(catalog))
    return 0


def catalog_of(language: str, package: Path = ROOT / "zango_ai") -> Path:
    return package / "locale" / language / "LC_MESSAGES" / "django.po"


def copy_package(folder: Path) -> Path:
    """A copy of the package: ``makemessages`` writes beside what it reads."""
    package = folder / "zango_ai"
    shutil.copytree(ROOT / "zango_ai", package, ignore=shutil.ignore_patterns("__pycache__", "static", "testing"))
    return package


def collect(package: Path, language: str) -> None:
    """Bring the catalog of a package up to date with its texts."""
    options = ["--locale", language, "--no-wrap", "--no-location", "--no-obsolete"]
    run(sys.executable, "-P", "-m", "django", "makemessages", *options, cwd=package)
    catalog = catalog_of(language, package)
    lines = catalog.read_text().splitlines(keepends=True)
    catalog.write_text("".join(line for line in lines if not line.startswith(_DATED)))


def problems_of(catalog: Path) -> str:
    """What ``msgfmt`` has to say of texts that are wrong, doubtful or not translated. Empty: nothing."""
    done = run("msgfmt", "--check-format", "--statistics", "-o", os.devnull, str(catalog), check=False)
    is_complete = done.returncode == 0 and "untranslated" not in done.stderr and "fuzzy" not in done.stderr
    return "" if is_complete else done.stderr.strip()


def run(*command: str, cwd: Path = ROOT, check: bool = True) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "clinic.settings",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "example_project")]),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")
    return done


if __name__ == "__main__":
    sys.exit(main())
