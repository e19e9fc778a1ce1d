"""What a user gets from the package index."""

import subprocess
import sys
import tarfile
import zipfile

from tests.e2e.conftest import ROOT


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "zango_ai").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == tracked | {"zango_ai/AGENTS.md"}
    for needed in (
        "zango_ai/py.typed",
        "zango_ai/migrations/0001_initial.py",
        "zango_ai/static/zango_ai/panel.css",
        "zango_ai/templates/admin/zango_ai/prompt/change_form.html",
        "zango_ai/testing/model_server.py",
    ):
        assert needed in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_keeps_the_stolen_releases_of_litellm_out(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    text = archive.read(metadata).decode()
    (line,) = (line for line in text.splitlines() if line.startswith("Requires-Dist: litellm"))
    assert "!=1.82.7" in line
    assert "!=1.82.8" in line


def test_the_sdist_builds_the_same_wheel_and_has_the_documentation(wheel, tmp_path):
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)  # the wheel is built from the sdist
    (sdist,), (other,) = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "AGENTS.md", "docs/index.md", "docs/how-to/run-an-agent.md"} <= names
    assert contents(other) == contents(wheel)


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
