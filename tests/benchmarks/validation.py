"""What it takes to check an answer of a megabyte, beside reading it: ``python -m tests.benchmarks.validation``."""

import json
import statistics
import time
from collections.abc import Callable

from zango_ai.output import json_reader, json_schema

ITEM = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "price": {"type": "number", "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["id", "name", "price", "tags"],
    "additionalProperties": False,
}
SCHEMA = {"type": "object", "properties": {"items": {"type": "array", "items": ITEM}}, "required": ["items"]}
WITH_FORMAT = {**SCHEMA, "properties": {**SCHEMA["properties"], "on": {"type": "string", "format": "date"}}}  # type: ignore[dict-item]


def main() -> None:
    items = [{"id": n, "name": f"item {n}", "price": n * 1.5, "tags": ["a", "b"]} for n in range(14_500)]
    text = json.dumps({"items": items, "on": "2026-12-01"})
    value = json.loads(text)
    works: dict[str, Callable[[], object]] = {
        "json.loads": lambda: json.loads(text),
        "output.parse": lambda: json_reader.parse_answer(text, stop_reason="end_turn"),
        "json_schema.validate": lambda: json_schema.validate(value, SCHEMA),
        "json_schema.validate, a schema with formats": lambda: json_schema.validate(value, WITH_FORMAT),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(7):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append((time.perf_counter() - started) * 1000)
    print(f"{len(text) / 1e6:.2f} MB")
    read = statistics.median(times["json.loads"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:>40}: {median:7.1f} ms, {median / read:5.1f} times json.loads")


if __name__ == "__main__":
    main()
