"""A local model server: a real HTTP server on loopback that the vendors' clients can talk to.

::

    with ModelServer() as model:
        provider.credentials = {"api_key": "sk-test", "api_base": model.openai_base}
        model.script("Take two a day.", Reply(status=500), Reply("Late.", delay_s=3))
        ...
        assert model.requests[0].body["messages"][-1]["content"] == "How many?"

It is no language model. It answers from the script; when that is used up, with a short extract of what it was
asked that says so. It refuses what the vendor refuses: messages in a wrong order, tools and calls in a wrong shape.

``python -m zango_ai.testing.model_server`` runs it in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote
from weakref import WeakSet

from . import dialects
from .calls import Call
from .dialects import STAND_IN, Dialect, Said

__all__ = ["STAND_IN", "Call", "ModelServer", "Reply", "SeenRequest"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer."""

    text: str | None = None
    """None: "ok", or nothing beside calls."""
    _: KW_ONLY
    calls: Sequence[Call] = ()
    """The tools that the model wants to have called, in this order; ``text`` goes before them."""
    delay_s: float = 0.0
    """How long the server thinks before it says anything."""
    status: int = 200
    """Any other than 200 answers with the vendor's error of that status; ``text`` is its message."""
    headers: Mapping[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    """OpenAI's word: ``stop``, ``length`` or ``content_filter``; put into Anthropic's where that is spoken. With
    ``calls``, ``stop`` is ``tool_calls``."""
    input_tokens: int | None = None
    """None: counted from the request, a token for four characters. Cached tokens are part of it."""
    output_tokens: int | None = None
    """None: counted from the text and the calls."""
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0
    """Part of the output tokens."""
    raw: bytes | None = None
    """Sent as the body, whatever the protocol says."""
    hang_up: bool = False
    """Close the connection without an answer."""
    hang_up_after: bool = False
    """Close the connection after the answer, also where it promised more."""
    trickle_s: float = 0.0
    """Pause after each byte of the body."""

    @property
    def words(self) -> str:
        """The text that is sent."""
        return ("" if self.calls else "ok") if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """What a client sent. ``headers`` are named in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    raw: bytes = field(default=b"", repr=False)
    """The body as it came."""


class ModelServer:
    """Listens from ``start()`` to ``stop()``; a context manager does both. Safe for many clients at once."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        delay_s: float = 0.0,
        answer: Callable[[SeenRequest], Reply | None] | None = None,
    ) -> None:
        """``delay_s`` is added to every answer; ``port`` 0 takes a free one.

        ``answer`` is asked for a reply to a request for which nothing is scripted; None: the stand-in's own.
        """
        self.delay_s = delay_s
        self._answer = answer
        self._requests: list[SeenRequest] = []
        self._script: deque[Reply] = deque()
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._server = _Server((host, port), self)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

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
        """How many connections clients have opened so far."""
        return self._server.connections

    @property
    def requests(self) -> list[SeenRequest]:
        """Every request so far, oldest first."""
        with self._lock:
            return list(self._requests)

    def script(self, *replies: Reply | str) -> None:
        """Answer the next requests with these, in order. A str is a text."""
        with self._lock:
            self._script.extend(Reply(reply) if isinstance(reply, str) else reply for reply in replies)

    def wait_for_requests(self, count: int, *, timeout_s: float = 30.0) -> None:
        """Return when ``count`` requests have arrived. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._requests) >= count, timeout_s):
                raise TimeoutError(f"{len(self._requests)} of {count} requests after {timeout_s} s")

    def reset(self) -> None:
        """Forget the script and the requests."""
        with self._lock:
            self._script.clear()
            self._requests.clear()

    def start(self) -> ModelServer:
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, and hang up on every client."""
        self._stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.hang_up()

    def __deepcopy__(self, memo: object) -> ModelServer:
        """``TestCase`` copies what ``setUpTestData`` keeps; there is one server all the same."""
        return self

    def __enter__(self) -> ModelServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _take(self, seen: SeenRequest) -> Reply | None:
        """Note the request and give the next scripted reply."""
        with self._arrived:
            self._requests.append(seen)
            self._arrived.notify_all()
            if self._script:
                return self._script.popleft()
        return None if self._answer is None else self._answer(seen)

    def _think(self, seconds: float) -> None:
        """Wait, unless the server is being stopped."""
        if seconds > 0:
            self._stopping.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: ModelServer) -> None:
        self.owner = owner
        self.connections = 0
        self._clients: WeakSet[socket.socket] = WeakSet()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections += 1
        self._clients.add(connection)
        return connection, address

    def hang_up(self) -> None:
        for connection in list(self._clients):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of the server's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._send(400, {"error": {"message": "the body is no JSON object", "type": "invalid_request_error"}})
            return
        dialect = dialects.of_chat(unquote(self.path.split("?")[0]))
        self._reply(body, dialect, lambda d, reply: d.answer(body, _said(d, body, reply)), raw)

    def do_GET(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        dialect = dialects.of_models(self.path.split("?")[0], headers)
        self._reply({}, dialect, lambda d, _reply: d.models())

    def _reply(
        self,
        body: Mapping[str, Any],
        dialect: Dialect | None,
        answer: Callable[[Dialect, Reply | None], dict[str, Any]],
        raw: bytes = b"",
    ) -> None:
        owner = self.server.owner
        headers = {key.lower(): value for key, value in self.headers.items()}
        reply = owner._take(SeenRequest(self.path.split("?")[0], headers, body, raw))
        owner._think(owner.delay_s + (reply.delay_s if reply else 0.0))
        if reply is not None and (reply.hang_up or reply.hang_up_after):
            self.close_connection = True
        if reply is not None and reply.hang_up:
            return
        wrong = dialect.refusal(body) if dialect is not None and raw else None
        if dialect is not None and wrong is not None:
            self._send(400, dialect.error(400, wrong))
        elif dialect is None:
            self._send(404, {"error": {"message": f"no such path: {self.path}", "type": "not_found"}})
        elif reply is None:
            self._send(200, answer(dialect, None))
        elif reply.raw is not None:
            self._send_bytes(reply.status, reply.raw, reply)
        elif reply.status != 200:
            self._send(reply.status, dialect.error(reply.status, reply.words), reply)
        else:
            self._send(200, answer(dialect, reply), reply)

    def _send(self, status: int, document: Any, reply: Reply | None = None) -> None:
        self._send_bytes(status, json.dumps(document).encode(), reply or Reply())

    def _send_bytes(self, status: int, content: bytes, reply: Reply) -> None:
        named = {"Content-Type": "application/json", "Content-Length": str(len(content)), **reply.headers}
        lines = [f"HTTP/1.1 {status} {self.responses.get(status, ('',))[0]}"]
        lines += [f"{name}: {value}" for name, value in named.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if not reply.trickle_s:
            # Headers and body in one packet: two of them would wait for each other's acknowledgement.
            self.wfile.write(head + content)
            return
        self.wfile.write(head)
        for position in range(len(content)):
            self.wfile.write(content[position : position + 1])
            self.server.owner._think(reply.trickle_s)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are kept, not printed."""


def _said(dialect: Dialect, body: Mapping[str, Any], reply: Reply | None) -> Said:
    reply = reply or Reply(dialects.extract(dialect, body))
    counted = dialects.count_tokens(dialect, body)
    calls = tuple(reply.calls)
    counted_answer = dialects.count_said(reply.words, calls)
    return Said(
        text=reply.words,
        calls=calls,
        finish_reason="tool_calls" if calls and reply.finish_reason == "stop" else reply.finish_reason,
        input_tokens=counted if reply.input_tokens is None else reply.input_tokens,
        output_tokens=counted_answer if reply.output_tokens is None else reply.output_tokens,
        cache_read_tokens=reply.cache_read_tokens,
        cache_creation_tokens=reply.cache_creation_tokens,
        reasoning_tokens=reply.reasoning_tokens,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the local model server (a stand-in, no language model).")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds added to every answer")
    options = parser.parse_args()
    with ModelServer(port=options.port, delay_s=options.delay) as model:
        print(f"{STAND_IN} openai: {model.openai_base}  anthropic: {model.anthropic_base}", flush=True)  # noqa: T201
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
