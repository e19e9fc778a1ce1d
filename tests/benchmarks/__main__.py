"""How fast runs are, and whether they stay so.

    python -m tests.benchmarks [--only PART ...] [--quick] [--json FILE] [--plot FILE]

Everything in one process, on a PostgreSQL of its own, against the local model server in a process of its own; what
is compared is measured by turns. About a quarter of an hour; with ``--quick`` a minute, and rougher.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    asynchronous,
    growth,
    latency,
    report,
    resident,
    scale,
    site,
    start,
    stored,
    streams,
    throughput,
)

PARTS = ("latency", "throughput", "async", "streams", "growth", "start", "resident", "stored", "scale")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, smaller sizes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw them into this file, .svg or .png (needs matplotlib)")
    options = parser.parse_args()
    figures: dict[str, Any] = {"command": "python -m tests.benchmarks " + " ".join(sys.argv[1:])}
    with site.project():
        from django_tenants.utils import schema_context

        figures["machine"] = report.machine()
        for name in options.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            site.add_tenant(name)
            delay_s = throughput.THINKS_S if name in {"throughput", "async"} else 0.0
            with site.model_server(delay_s=delay_s) as server, schema_context(name):
                figures[name] = measured(name, server, is_quick=options.quick)
    print("\n".join(f"{name}: {value}" for name, value in figures["machine"].items()))
    print("\n".join(report.tables(figures)))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.plot:
        report.plot(figures, options.plot)


def measured(name: str, server: Any, *, is_quick: bool) -> dict[str, Any]:
    if name == "latency":
        return latency.measured(server, 50 if is_quick else 300)
    if name == "throughput":
        return throughput.measured(server, 10 if is_quick else 40, rounds=3 if is_quick else 7)
    if name == "async":
        return asynchronous.measured(server, 3 if is_quick else 9)
    if name == "streams":
        return streams.measured(server, 20 if is_quick else 100, long_rounds=3 if is_quick else 15)
    if name == "growth":
        return growth.measured(server, 50 if is_quick else 200, is_quick=is_quick)
    if name == "scale":
        return scale.measured(20_000 if is_quick else 2_000_000, 5 if is_quick else 7)
    if name == "start":
        return start.measured(server, 4 if is_quick else 20)
    if name == "stored":
        return stored.measured(server, 30 if is_quick else 200)
    return resident.measured(server, (500, 1_000) if is_quick else (2_000, 5_000, 10_000, 20_000))


if __name__ == "__main__":
    main()
