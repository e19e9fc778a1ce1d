"""A local model server: a real HTTP server on loopback for the vendors' clients.

::

    with ModelServer() as model:
        provider.credentials = {"api_key": "sk-test", "api_base": model.openai_base}
        model.script("Take two a day.", Reply(status=500), Reply("Late.", delay_s=3))
        ...
        assert model.requests[0].body["messages"][-1]["content"] == "How many?"

It is not a language model. It sends the scripted replies, and when there are none left, a quote of the question.
It rejects what the vendor rejects: messages in the wrong order, malformed tools and tool calls.

``python -m zango_ai.testing.model_server`` runs it as a separate process.
"""

from __future__ import annotations

import argparse
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from .http_server import Server
from .replies import Reply, SeenRequest
from .steps import Answer, Failure
from .tool_call import Call
from .vendors import STAND_IN

__all__ = ["STAND_IN", "Call", "ModelServer", "Reply", "SeenRequest"]


class ModelServer:
    """Listens from ``start()`` to ``stop()``, or inside a ``with`` block. Serves many clients at once."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        delay_s: float = 0.0,
        answer: Callable[[SeenRequest], Reply | str | None] | None = None,
    ) -> None:
        """``port`` 0 chooses a free port. ``delay_s`` is added to every reply.

        ``answer`` computes the reply to a request when no reply is scripted. None: the server's default answer.
        """
        self.delay_s = delay_s
        self._answer = answer
        self._requests: list[SeenRequest] = []
        self._script: deque[Reply] = deque()
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._server = Server((host, port), self)
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()
        self._abandoned = 0

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def openai_base(self) -> str:
        """``api_base`` for a provider of kind ``openai`` or ``openai_compatible``."""
        return f"{self.url}/v1"

    @property
    def anthropic_base(self) -> str:
        """``api_base`` for a provider of kind ``anthropic``."""
        return self.url

    @property
    def gemini_base(self) -> str:
        """``api_base`` for a provider of kind ``gemini``."""
        return f"{self.url}/v1beta"

    @property
    def connections(self) -> int:
        """The number of connections that clients have opened."""
        return self._server.connections

    @property
    def abandoned_streams(self) -> int:
        """The number of streams that clients closed early."""
        return self._abandoned

    def wait_for_abandoned(self, count: int, *, timeout_s: float = 30.0) -> None:
        """Wait until clients have closed ``count`` streams early. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._abandoned >= count, timeout_s):
                raise TimeoutError(f"{self._abandoned} of {count} streams were closed early after {timeout_s} s")

    @property
    def requests(self) -> list[SeenRequest]:
        """All requests, oldest first."""
        with self._lock:
            return list(self._requests)

    def script(self, *replies: Reply | Answer | Failure | str) -> None:
        """Reply to the next requests with these, in order. A string is the text of a reply.

        ``says()``, ``calls()`` and ``fails()`` are sent as the vendor sends such an answer or error.

        Raises TypeError for anything else, and then adds none of them.
        """
        checked = [Reply.of(reply, "script() takes") for reply in replies]
        with self._lock:
            self._script.extend(checked)

    def wait_for_requests(self, count: int, *, timeout_s: float = 30.0) -> None:
        """Wait until ``count`` requests have arrived. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._requests) >= count, timeout_s):
                raise TimeoutError(f"{len(self._requests)} of {count} requests after {timeout_s} s")

    def reset(self) -> None:
        """Clear the script and the recorded requests."""
        with self._lock:
            self._script.clear()
            self._requests.clear()
            self._abandoned = 0

    def start(self) -> Self:
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self.stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.hang_up()

    def __deepcopy__(self, memo: object) -> ModelServer:
        """Return the same server: ``TestCase`` copies the attributes that ``setUpTestData`` sets."""
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def take(self, seen: SeenRequest) -> Reply | None:
        """Record the request and return the next reply."""
        with self._arrived:
            self._requests.append(seen)
            self._arrived.notify_all()
            if self._script:
                return self._script.popleft()
        return None if self._answer is None else self._computed(self._answer(seen))

    @staticmethod
    def _computed(value: object) -> Reply | None:
        """The reply that ``answer`` returned. If it has a wrong type, the client gets an error that says so."""
        try:
            return None if value is None else Reply.of(value, "ModelServer(answer=...) may return")
        except TypeError as exc:
            return Reply(str(exc), status=400)

    def think(self, seconds: float) -> None:
        """Wait, or return early when the server stops."""
        if seconds > 0:
            self.stopping.wait(seconds)

    def note_abandoned(self) -> None:
        with self._arrived:
            self._abandoned += 1
            self._arrived.notify_all()


def _start_lines(model: ModelServer) -> str:
    """The settings and the addresses of providers that use the server, ready to paste."""
    return "\n".join(
        (
            STAND_IN,
            f'settings.py:  ZANGO_AI = {{"ALLOWED_API_BASES": ["{model.url}"]}}',
            f'kind openai or openai_compatible:  "api_base": "{model.openai_base}"',
            f'kind anthropic:  "api_base": "{model.anthropic_base}"',
            f'kind gemini:  "api_base": "{model.gemini_base}"',
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the local model server (a stand-in, not a language model).")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds added to every reply")
    options = parser.parse_args()
    with ModelServer(port=options.port, delay_s=options.delay) as model:
        print(_start_lines(model), flush=True)  # noqa: T201
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
