"""Whether a process grows by running agents: its resident size after many runs beside that after some."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any


def measured(server: Any, counts: tuple[int, ...]) -> dict[str, Any]:
    """The size in MiB after so many runs in all, one after the other."""
    from tests.build import make_agent
    from zango_ai import get_agent

    make_agent(server, "plain")
    sizes: dict[str, float] = {}
    done = 0
    for count in counts:
        for _ in range(count - done):
            get_agent("plain").run("hi")
        done = count
        gc.collect()
        sizes[str(count)] = resident_mib()
    first, last = sizes[str(counts[0])], sizes[str(counts[-1])]
    return {"mib": sizes, "to_first": last / first}


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
