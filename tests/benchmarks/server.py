"""The local model server in a process of its own, which calls a tool where it is given one: for benchmarks.

python -m tests.benchmarks.server --port 18766 --delay 0.05
"""

import argparse
import threading

from zango_ai.testing import Call, ModelServer, Reply, SeenRequest

JSON = '{"answer": "yes", "reasons": ["one", "two"]}'


def answer(seen: SeenRequest) -> Reply | None:
    messages = seen.body.get("messages") or [{}]
    if seen.body.get("tools") and messages[-1].get("role") == "user":
        return Reply(calls=[Call(seen.body["tools"][0]["function"]["name"], {"number": 4})])
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
