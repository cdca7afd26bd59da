"""A stand-in for a model's endpoint: the two routes that flows and chats use, on a real socket.

It answers `/score` (whole and streamed) and `/v1/chat/completions` (streamed) with a key, counts
requests and records their bodies. Replies can be queued: each request takes the next one, and
when none is left the answer names the last question and the number of messages. It does not prove
that a real endpoint agrees with it; the endpoint's own tests hold that side of the contract.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "correct-horse-battery-staple"


@dataclass
class Reply:
    """What the next request gets: a status with a body, or pieces of an answer."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[str] | None = None
    error_after: str | None = None  # an error event after the pieces
    drop_after: bool = False  # close the connection after the pieces
    hold: threading.Event | None = None  # wait for it after the pieces
    streams: bool = True  # False: answer whole even where a stream was asked for


class Endpoint:
    """A running stand-in, with what it was asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.replies: deque[Reply] = deque()
        self.gone = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                endpoint.requests.append(body)
                endpoint.headers.append({k.lower(): v for k, v in self.headers.items()})
                if self.headers.get("authorization") != f"Bearer {KEY}":
                    return self._whole(401, "key_auth_access_denied", {})
                reply = endpoint.replies.popleft() if endpoint.replies else Reply()
                if reply.status != 200:
                    return self._whole(reply.status, reply.body, reply.headers)
                pieces = reply.pieces if reply.pieces is not None else _echo(body)
                openai = self.path == "/v1/chat/completions"
                if openai or (reply.streams and "event-stream" in self.headers["accept"]):
                    return self._stream(reply, pieces, openai=openai)
                return self._whole(200, reply.body or json.dumps(["".join(pieces)]), {})

            def do_GET(self) -> None:
                endpoint.headers.append({k.lower(): v for k, v in self.headers.items()})
                if self.headers.get("authorization") != f"Bearer {KEY}":
                    return self._whole(401, "key_auth_access_denied", {})
                if endpoint.replies and endpoint.replies[0].status != 200:
                    reply = endpoint.replies.popleft()
                    return self._whole(reply.status, reply.body, reply.headers)
                return self._whole(200, json.dumps({"data": [{"id": "stand-in"}]}), {})

            def _whole(self, status: int, text: str, headers: dict[str, str]) -> None:
                data = text.encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _stream(self, reply: Reply, pieces: list[str], *, openai: bool) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                try:
                    for piece in pieces:
                        self._event(_chunk(piece) if openai else {"answer": piece})
                    if reply.hold is not None:
                        reply.hold.wait(30)
                        for _ in range(100):  # a closed peer is noticed at a later write
                            self._event(_chunk("late") if openai else {"answer": "late"})
                    if reply.error_after:
                        self._event({"error": {"message": reply.error_after}})
                    elif openai and not reply.drop_after:
                        self._event(_chunk("", finish="stop"))
                        self._chunk(b"data: [DONE]\n\n")
                    if reply.drop_after:  # without the end of the body that was promised
                        self.connection.shutdown(socket.SHUT_RDWR)
                    else:
                        self._chunk(b"")
                except OSError:
                    endpoint.gone.set()

            def _event(self, value: dict[str, Any]) -> None:
                self._chunk(f"data: {json.dumps(value)}\n\n".encode())

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: the tests look at what was recorded."""

        return Handler


@contextmanager
def running() -> Iterator[Endpoint]:
    """Run a stand-in for a while."""
    endpoint = Endpoint()
    try:
        yield endpoint
    finally:
        endpoint.close()


def _echo(body: dict[str, Any]) -> list[str]:
    messages = body["input_data"][0] if "input_data" in body else body["messages"]
    return [f"{len(messages)} messages, ", "the last is ", messages[-1]["content"]]


def _chunk(piece: str, *, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": piece}, "finish_reason": finish}
    about = {"id": "chatcmpl-1", "created": 1, "model": "stand-in"}
    return about | {"object": "chat.completion.chunk", "choices": [choice]}
