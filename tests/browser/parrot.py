"""A stand-in for a container that says what it is told, piece by piece.

    python parrot.py --port N --record FILE [--ready FILE] [--name NAME]

The last message decides: `say TEXT` is answered with TEXT, `hold FILE TEXT` too but the end comes
when FILE exists, `die TEXT` ends the process after TEXT; anything else is answered with the number
of messages and the last of them. A conversation of more than 20,000 characters is refused as too
long. With `--ready` it is healthy when that file exists. Each request is a line of the record. It
speaks the events of the real container and proves nothing about a model.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CONTEXT = 20_000  # characters


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    options: argparse.Namespace

    def do_GET(self) -> None:
        waits = self.options.ready and not self.options.ready.exists()
        self.whole(503 if waits else 200, "Healthy")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "messages" not in body:  # the first question of a roll-out, to /score
            return self.whole(200, '["Hello."]')
        with self.options.record.open("a", encoding="utf-8") as record:
            record.write(json.dumps(body) + "\n")
        messages = body["messages"]
        if sum(len(message["content"]) for message in messages) > CONTEXT:
            error = {"code": "context_length_exceeded", "message": "The conversation is too long."}
            return self.whole(400, json.dumps({"error": error | {"type": "x", "param": None}}))
        self.stream(messages)

    def stream(self, messages: list[dict[str, str]]) -> None:
        question = messages[-1]["content"]
        what, _, rest = question.partition(" ")
        file, _, held = rest.partition(" ")
        said = {"say": rest, "hold": held, "die": rest}.get(
            what, f"{self.options.name}: {len(messages)} messages, the last is {question}"
        )
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("hieno-model-version", f"{self.options.name}:1")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        pieces = re.findall(r"\S*\s*", said)
        for piece in pieces:
            if piece:
                self.event({"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
        if what == "die":
            os._exit(9)
        deadline = time.monotonic() + 60
        while what == "hold" and not Path(file).exists() and time.monotonic() < deadline:
            self.event({"choices": []})  # finds out whether anybody still listens
            time.sleep(0.02)
        self.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": 9, "completion_tokens": len(pieces) - 1, "total_tokens": 9}
        self.event({"choices": [], "usage": usage})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def event(self, data: dict[str, Any]) -> None:
        self.chunk(b"data: " + json.dumps(data).encode() + b"\n\n")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def whole(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        return  # whoever stops reading is no error


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--ready", type=Path)
    parser.add_argument("--name", default="parrot")
    Handler.options = parser.parse_args()
    Server(("127.0.0.1", Handler.options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
