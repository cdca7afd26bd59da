"""A stand-in for a container: it speaks the contract, and fails in the ways it is told to.

    python container.py --port N --name NAME [--fail] [--never-ready] [--refuse]
                        [--refuse-after N] [--delay SECONDS] [--say TEXT] [--record FILE]

The body of a request says what to do: {"do": "echo" | "status" | "stream" | "hang" | "die" |
"die-in-answer" | "die-in-stream" | "sicken"}, with "status", or with "file" to wait for or to
write; who finds that file does not die-in-answer. `--say` is the answer to a chat, `--record` a
file that gets a line for each request. It proves nothing about a model: answers are the request
itself, with the container's name and process.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two small writes
    options: argparse.Namespace
    answered = 0  # requests but for health
    sick = False

    def do_GET(self) -> None:
        if self.path == "/":
            well = not (self.options.never_ready or Handler.sick)
            self.whole(200 if well else 503, b"Healthy")
        else:
            self.answer()

    def do_POST(self) -> None:
        self.answer()

    do_OPTIONS = do_POST

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        asked = json.loads(body) if body.startswith(b"{") else {}
        what = asked.get("do", "echo")
        Handler.answered += 1
        if self.options.record:
            with self.options.record.open("a", encoding="utf-8") as record:
                record.write(f"{self.headers.get('x-request-id')}\n")
        if self.options.delay:
            threading.Event().wait(self.options.delay)
        if self.options.refuse or 0 < self.options.refuse_after < Handler.answered:
            self.whole(500, b'{"message": "An unexpected error"}')
        elif self.options.say and "messages" in asked:
            said = {"choices": [{"message": {"content": self.options.say}}]}
            self.whole(200, json.dumps(said).encode())
        elif what == "status":
            self.whole(asked["status"], b'{"message": "as told"}')
        elif what == "hang":
            self.hang(Path(asked["file"]))
        elif what == "sicken":
            Handler.sick = True
            self.whole(500, b'{"message": "the model has stopped"}')
        elif what == "die":
            os._exit(9)
        elif what == "die-in-answer" and not Path(asked["file"]).exists():
            Path(asked["file"]).touch()
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{")
            os._exit(9)
        elif what in ("stream", "die-in-stream"):
            self.stream(what, asked)
        else:
            echo = {
                "name": self.options.name,
                "pid": os.getpid(),
                "method": self.command,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode(),
            }
            self.whole(200, json.dumps(echo).encode())

    def hang(self, file: Path) -> None:
        file.with_suffix(".asked").touch()
        select.select([self.connection], [], [], 60)
        file.touch()
        self.close_connection = True

    def stream(self, what: str, asked: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("content-type", asked.get("type", "text/event-stream"))
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.chunk(b'data: {"answer": "one"}\n\n')
        if what == "die-in-stream":
            os._exit(9)
        deadline = time.monotonic() + 30
        while not Path(asked["file"]).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.chunk(b'data: {"answer": "two"}\n\n')
        self.chunk(b"")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def whole(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("access-control-allow-origin", "*")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--name")
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--refuse", action="store_true")
    parser.add_argument("--refuse-after", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--say", default="")
    parser.add_argument("--record", type=Path)
    Handler.options = parser.parse_args()
    if Handler.options.fail:
        print("loading", flush=True)
        print("the weights are broken", flush=True)
        sys.exit(3)
    Server(("127.0.0.1", Handler.options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
