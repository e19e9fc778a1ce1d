"""The HTTP part of the local model server: reads requests, writes responses and streams."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from weakref import WeakSet

from . import vendors
from .replies import Reply, SeenRequest
from .vendors import Answer, Vendor

if TYPE_CHECKING:
    from .model_server import ModelServer


_WORD = re.compile(r"\s*\S+|\s+")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: ModelServer) -> None:
        self.owner = owner
        self.connections = 0
        self._clients: WeakSet[socket.socket] = WeakSet()
        super().__init__(address, Handler)

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
        """Ignore clients that close the connection."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

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
        path = unquote(self.path.split("?")[0])
        vendor = vendors.chat_vendor(path)

        def respond(vendor: Vendor, reply: Reply | None) -> None:
            answer = _answer(vendor, body, reply)
            if vendor.is_streamed(path, body):
                self._stream(vendor, body, answer, reply or Reply())
            else:
                self._send(200, vendor.response(body, answer), reply)

        self._reply(body, vendor, respond, raw)

    def do_GET(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        vendor = vendors.models_vendor(self.path.split("?")[0], headers)
        self._reply({}, vendor, lambda vendor, reply: self._send(200, vendor.models(), reply))

    def _reply(
        self,
        body: Mapping[str, Any],
        vendor: Vendor | None,
        respond: Callable[[Vendor, Reply | None], None],
        raw: bytes = b"",
    ) -> None:
        owner = self.server.owner
        headers = {key.lower(): value for key, value in self.headers.items()}
        reply = owner.take(SeenRequest(self.path.split("?")[0], headers, body, raw))
        owner.think(owner.delay_s + (reply.delay_s if reply else 0.0))
        if reply is not None and (reply.hang_up or reply.hang_up_after):
            self.close_connection = True
        if reply is not None and reply.hang_up:
            return
        refusal = vendor.refusal(body) if vendor is not None and raw else None
        if vendor is not None and refusal is not None:
            self._send(400, vendor.error(400, refusal))
        elif vendor is None:
            self._send(404, {"error": {"message": f"unknown path: {self.path}", "type": "not_found"}})
        elif reply is None:
            respond(vendor, None)
        elif reply.raw is not None:
            self._send_bytes(reply.status, reply.raw, reply)
        elif reply.status != 200:
            self._send(reply.status, vendor.error(reply.status, reply.sent_text), reply)
        else:
            respond(vendor, reply)

    def _stream(self, vendor: Vendor, body: Mapping[str, Any], answer: Answer, reply: Reply) -> None:
        """Send the answer as events, one chunk of HTTP each."""
        pieces = split_words(answer.text) if reply.pieces is None else list(reply.pieces)
        headers = {"Content-Type": vendor.media_type, "Transfer-Encoding": "chunked", **reply.headers}
        self.wfile.write(self._head(200, headers))
        try:
            for number, event in enumerate(vendor.stream(body, answer, pieces, has_usage=reply.sends_usage)):
                if number == reply.breaks_after:
                    self.close_connection = True
                    return
                if number == reply.stalls_after:
                    self._wait_for_hang_up()
                    return
                if number == reply.fails_after:
                    self._send_chunk(vendor.stream_error(reply.sent_text))
                    break
                self._send_chunk(event)
                self.server.owner.think(reply.trickle_s)
            self._send_chunk(b"")
        except OSError:
            self.close_connection = True
            self.server.owner.note_abandoned()

    def _send_chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")

    def _wait_for_hang_up(self) -> None:
        """Send nothing more. Raises ConnectionError when the client closes the connection."""
        self.close_connection = True
        self.connection.settimeout(0.05)
        while not self.server.owner.stopping.is_set():
            with suppress(TimeoutError):
                if not self.connection.recv(1):
                    raise ConnectionResetError

    def _send(self, status: int, document: Any, reply: Reply | None = None) -> None:
        self._send_bytes(status, json.dumps(document).encode(), reply or Reply())

    def _send_bytes(self, status: int, content: bytes, reply: Reply) -> None:
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **reply.headers}
        head = self._head(status, headers)
        if not reply.trickle_s:
            # One packet for headers and body. Two packets would wait for an acknowledgement.
            self.wfile.write(head + content)
            return
        self.wfile.write(head)
        for position in range(len(content)):
            self.wfile.write(content[position : position + 1])
            self.server.owner.think(reply.trickle_s)

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        lines = [f"HTTP/1.1 {status} {self.responses.get(status, ('',))[0]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are recorded, not printed."""


def _answer(vendor: Vendor, body: Mapping[str, Any], reply: Reply | None) -> Answer:
    reply = reply or Reply(vendors.default_answer(vendor, body))
    input_tokens = vendors.request_tokens(vendor, body)
    calls = tuple(reply.calls)
    output_tokens = vendors.answer_tokens(reply.sent_text, calls)
    return Answer(
        text=reply.sent_text,
        calls=calls,
        finish_reason="tool_calls" if calls and reply.finish_reason == "stop" else reply.finish_reason,
        input_tokens=input_tokens if reply.input_tokens is None else reply.input_tokens,
        output_tokens=output_tokens if reply.output_tokens is None else reply.output_tokens,
        cache_read_tokens=reply.cache_read_tokens,
        cache_creation_tokens=reply.cache_creation_tokens,
        reasoning_tokens=reply.reasoning_tokens,
    )


def split_words(text: str) -> list[str]:
    """The default pieces of a streamed text: one word each, with the white space before it."""
    return _WORD.findall(text)
