"""The local model server in a process of its own, which calls a tool where it is given one: for benchmarks.

python -m tests.benchmarks.server --port 18766 --delay 0.05
"""

import argparse
import threading

from zango_ai.testing import Call, ModelServer, Reply, SeenRequest

LONG, STALLED = "A long answer, please.", "Stop after three words."
"""Questions for a stream of 2,000 chunks, and for one that stalls."""
_LONG_TEXT = "".join(f"word{number:04d} " for number in range(2_000))
JSON = '{"answer": "yes", "reasons": ["one", "two"]}'


def answer(seen: SeenRequest) -> Reply | None:
    messages = seen.body.get("messages") or [{}]
    if seen.body.get("tools") and messages[-1].get("role") == "user":
        return Reply(calls=[Call(seen.body["tools"][0]["function"]["name"], {"number": 4})])
    if messages[-1].get("content") == LONG:
        return Reply(_LONG_TEXT)
    if messages[-1].get("content") == STALLED:
        return Reply("one two three four", stalls_after=3)
    return Reply(JSON) if "response_format" in seen.body else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds added to every answer")
    options = parser.parse_args()
    with ModelServer(port=options.port, delay_s=options.delay, answer=answer):
        print("ready", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
