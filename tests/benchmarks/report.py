"""The figures as tables, as JSON, and as a picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("django", "django-tenants", "psycopg", "litellm", "openai", "httpx")
Figures = Mapping[str, Any]


def machine() -> dict[str, Any]:
    """What the figures were taken on and with."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        postgresql = cursor.fetchone()[0].split()[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "processor": _processor(),
        "python": platform.python_version(),
        "postgresql": postgresql,
        **{name: version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def tables(figures: Figures) -> Iterator[str]:
    """Each part as a table in Markdown."""
    for name in (name for name in _TABLES if name in figures):
        yield f"\n{_TITLES[name]}"
        for made in _TABLES[name]:
            head, rows = made(figures[name])
            yield ""
            yield from _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(_shown(cell) for cell in row) + " |"


def _shown(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if cell >= 100 else f"{cell:.2f}"
    return str(cell)


_Rows = tuple[Sequence[str], Iterable[Sequence[Any]]]


def _latency(found: Figures) -> _Rows:
    keys = ("openai_ms", "litellm_ms", "run_ms", "run_to_litellm", "added_ms", "sql")
    head = ("", "bare openai, ms", "bare litellm, ms", "run, ms", "run / litellm", "added, ms", "SQL statements")
    return head, [(name, *(row[key] for key in keys)) for name, row in found["cases"].items()]


def _parts(found: Figures) -> _Rows:
    return ("", "ms"), list(found["parts"].items())


def _throughput(found: Figures) -> _Rows:
    keys = ("a_second", "to_litellm", "own_processor_ms", "all_processors_ms")
    head = ("", "calls a second", "to litellm", "processor's time in this process, ms", "in all processes, ms")
    return head, [(name, *(row[key] for key in keys)) for name, row in found.items()]


def _async(found: Figures) -> _Rows:
    keys = ("a_second", "to_acompletion", "spread", "own_processor_ms", "threads")
    head = ("", "runs a second", "to acompletion", "least to most", "CPU time in this process, ms", "threads")
    return head, [(name, *(row[key] for key in keys)) for name, row in found.items()]


def _streams(found: Figures) -> _Rows:
    keys = ("litellm_ms", "stream_ms", "to_litellm", "middle_half")
    cases = {
        "first token": found["short"]["first_token"],
        "2,000 chunks, wall": found["long"]["wall"],
        "2,000 chunks, CPU": found["long"]["cpu"],
    }
    head = ("", "bare litellm, ms", "stream, ms", "stream / litellm", "middle half")
    return head, [(name, *(row[key] for key in keys)) for name, row in cases.items()]


def _open_streams(found: Figures) -> _Rows:
    row = found["open"]
    return ("open streams", "KiB each", "threads", "more than with 50 streams"), [tuple(row.values())]


def _growth(found: Figures) -> _Rows:
    rows = [
        (what, size, row["ms"], row["to_first"]) for what, sizes in found.items() for size, row in sizes.items()
    ]
    return ("", "so many", "run, ms", "to the first"), rows


def _start(found: Figures) -> _Rows:
    setup = found["django.setup()"]
    rows = [(f"`django.setup()` {name}", row["ms"], row["mib"]) for name, row in setup.items()]
    for name, steps in found["first"].items():
        rows += [(f"{name}: {step}", ms, "") for step, ms in steps.items()]
    return ("", "ms", "MiB"), rows


def _scale(found: Figures) -> _Rows:
    small, large = (f"{size:,} runs, ms" for size in found["rows"].values())
    return ("", small, large, "ratio"), [(page, *row.values()) for page, row in found["ms"].items()]


def _resident(found: Figures) -> _Rows:
    rows = [(f"after {count} runs", size) for count, size in found["mib"].items()]
    return ("", "MiB"), [*rows, ("last to first", found["to_first"])]


def _stored(found: Figures) -> _Rows:
    return ("", "bytes", "ms"), [(name, row["bytes"], row["reserve_ms"]) for name, row in found.items()]


_TABLES = {
    "latency": (_latency, _parts),
    "throughput": (_throughput,),
    "async": (_async,),
    "streams": (_streams, _open_streams),
    "growth": (_growth,),
    "start": (_start,),
    "resident": (_resident,),
    "scale": (_scale,),
    "stored": (_stored,),
}
_TITLES = {
    "latency": "A run beside the same calls, at a model that answers at once",
    "throughput": "16 threads at a model that thinks for 50 ms",
    "async": "200 concurrent arun() at a model that takes 50 ms",
    "streams": "Streams, at a model that answers at once",
    "growth": "Growth",
    "start": "Start",
    "resident": "Resident size of one process",
    "scale": "The admin's pages in a small and in a large log",
    "stored": "What a run takes in the database, and its reservation in time",
}


def plot(figures: Figures, path: Path) -> None:
    """The parts that are there, side by side. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "zango_ai", "font.size": 9})
    from matplotlib import pyplot

    panels = [name for name in _PANELS if name in figures]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 3.6), squeeze=False)
    for axis, name in zip(axes[0], panels, strict=True):
        axis.set_title(_TITLES[name], fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        _PANELS[name](axis, figures[name])
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


_COLOURS = {"openai": "#b8c4ce", "litellm": "#7d95a8", "run": "#1f6f8b"}


def _plot_latency(axis: Any, found: Figures) -> None:
    found = found["cases"]
    for offset, (key, colour) in enumerate(_COLOURS.items()):
        places = [position + (offset - 1) * 0.27 for position in range(len(found))]
        axis.barh(places, [row[f"{key}_ms"] for row in found.values()], 0.25, label=key, color=colour)
    axis.set_yticks(range(len(found)), list(found))
    axis.invert_yaxis()
    axis.set_xlabel("ms (median)")
    axis.legend(frameon=False)


def _plot_throughput(axis: Any, found: Figures) -> None:
    axis.bar(list(found), [row["a_second"] for row in found.values()], color=[_COLOURS[name] for name in found])
    axis.set_ylabel("calls a second")


def _plot_growth(axis: Any, found: Figures) -> None:
    for name, sizes in found.items():
        axis.plot(
            [int(size) for size in sizes], [row["to_first"] for row in sizes.values()], marker="o", label=name
        )
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_ylabel("time of a run, to the first")
    axis.legend(frameon=False)


def _plot_resident(axis: Any, found: Figures) -> None:
    axis.plot(
        [int(count) for count in found["mib"]], list(found["mib"].values()), marker="o", color=_COLOURS["run"]
    )
    axis.set_ylim(bottom=0)
    axis.set_xlabel("runs")
    axis.set_ylabel("MiB")


_PANELS = {
    "latency": _plot_latency,
    "throughput": _plot_throughput,
    "growth": _plot_growth,
    "resident": _plot_resident,
}
