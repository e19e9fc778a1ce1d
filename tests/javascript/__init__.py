"""The tests' JavaScript, run by Node or bundled for a browser.

``npm install`` puts the pinned packages of ``package.json`` beside it, into ``node_modules``, which git ignores.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def install() -> None:
    """Install the packages, again only when ``package.json`` has changed. Skip the test if there is no Node."""
    if shutil.which("npm") is None:
        missing = "There is no npm: apt-get install npm, or install Node 20 or later."
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    stamp = HERE / "node_modules" / hashlib.sha256((HERE / "package.json").read_bytes()).hexdigest()[:16]
    with open(HERE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists():
            return
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        subprocess.run(command, cwd=HERE, check=True, capture_output=True)
        stamp.touch()


def run(script: str, *arguments: str) -> str:
    """What the script prints."""
    install()
    done = subprocess.run(["node", script, *arguments], cwd=HERE, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bundle(script: str | Path, target: Path, *options: str) -> None:
    """Write the script with everything that it imports, for a browser. ``options`` are esbuild's."""
    install()
    packages = HERE / "node_modules"
    general = ["--bundle", "--jsx=automatic", "--log-level=error", '--define:process.env.NODE_ENV="production"']
    command = [packages / ".bin" / "esbuild", script, *general, *options, f"--outfile={target}"]
    subprocess.run(command, cwd=HERE, env={**os.environ, "NODE_PATH": str(packages)}, check=True)
