"""Executes a tutorial page as a reader does: its commands, its files, and what it says is printed."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^(?:# |// |\{# )([\w./-]+\.\w+)( \(at the end\))?(?: #\})?$")
SERVERS = {"zango_ai.testing.model_server": "kind gemini", "runserver": "Quit the server"}
"""Commands that do not end, and what they print when they are ready."""


@dataclass
class Reader:
    """Follows a page in an empty folder. Servers that the page starts run until ``stop()``."""

    folder: Path
    environment: dict[str, str]
    replacements: dict[str, str]
    """Names and ports of the page, and those that the test uses instead, because others may be in use."""
    output: str = ""
    commands: int = 0
    files: list[str] = field(default_factory=list)
    _servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def follow(self, page: str) -> None:
        for name, other in self.replacements.items():
            page = page.replace(name, other)
        for language, block in BLOCK.findall(page):
            if language == "sh":
                self._run(block)
            elif language == "text":
                self._compare(block)
            else:
                self._write(block)

    def stop(self) -> None:
        for server in self._servers:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def _write(self, block: str) -> None:
        name = write_file(block, self.folder)
        assert name, f"The first line names no file: {block}"
        self.files.append(name)

    def _run(self, block: str) -> None:
        self.commands += 1
        ready = next((words for name, words in SERVERS.items() if name in block), None)
        activate = ". .venv/bin/activate; " if (self.folder / ".venv").exists() else ""
        command = ["bash", "-ec", activate + block]
        if ready:
            self._start(command, ready)
        else:
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=200
            )
            self.output = done.stdout + done.stderr
            assert done.returncode == 0, f"{block}\n{self.output}"
        if not activate:
            self._reuse_dependencies()

    def _start(self, command: list[str], ready: str) -> None:
        log = self.folder / f"server-{len(self._servers)}.log"
        with log.open("wb") as target:
            server = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=target,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._servers.append(server)
        deadline = time.monotonic() + 120
        while ready not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        self.output = log.read_text()

    def _reuse_dependencies(self) -> None:
        """Let the reader's environment find the packages that the tests have installed, to download nothing."""
        (site,) = (self.folder / ".venv").glob("lib/python*/site-packages")
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def _compare(self, block: str) -> None:
        """Each line of the block was printed, in this order. ``…`` stands for any text, also of several lines."""
        lines = [re.escape(line).replace("…", ".*?") for line in block.splitlines()]
        pattern = r"\s*?\n".join(lines)
        assert re.search(pattern, self.output, re.DOTALL), f"Expected:\n{block}\nPrinted:\n{self.output}"


def write_file(block: str, folder: Path) -> str | None:
    """Write the file that the first line of the block names. Returns its name; None if the line names no file."""
    first, _, rest = block.partition("\n")
    found = FILE.match(first)
    if found is None:
        return None
    path = folder / found[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.read_text() + rest if found[2] else rest)
    return found[1]


def environment_of_a_reader(database_url: str) -> dict[str, str]:
    """Without what the tests have set, and with PostgreSQL where libpq looks for it."""
    from urllib.parse import parse_qs, unquote, urlsplit

    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "PYTEST_", "PYTHONPATH", "DATABASE_URL", "VIRTUAL_ENV"))
    }
    parts = urlsplit(database_url)
    query = parse_qs(parts.query)
    server = {
        "PGHOST": query.get("host", [parts.hostname or ""])[0],
        "PGPORT": str(parts.port or ""),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
    }
    return {
        **kept,
        **{name: value for name, value in server.items() if value},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }
