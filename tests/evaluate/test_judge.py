"""A judge is asked in both orders, through a real connection, with its key and nothing more."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from hieno.errors import AccessDenied, HienoError, Unreachable
from hieno.evaluate.judge import Judge, Pair, preferences

Answer = tuple[int, Any]


@dataclass
class Bench:
    """A stand-in for a judging model: it says what its rule says, and judges nothing."""

    rule: Callable[[str], Answer]
    seen: list[tuple[str | None, str]] = field(default_factory=list)


@pytest.fixture
def bench() -> Iterator[tuple[Bench, Judge]]:
    held = Bench(lambda shown: says("same"))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            shown = body["messages"][1]["content"]
            held.seen.append((self.headers.get("authorization"), self.path))
            status, document = held.rule(shown)
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/v1"
    yield held, Judge(address, "judge-1", SecretStr("s3cret"))
    server.shutdown()
    thread.join()
    server.server_close()


def says(word: str) -> Answer:
    return 200, {"choices": [{"message": {"content": word}}]}


def longer(shown: str) -> Answer:
    a, b = (shown.split(f"[{n}]\n")[1].split(f"\n[end of {n}]")[0] for n in "AB")
    return says("**A**" if len(a) > len(b) else "B." if len(b) > len(a) else "same")


def pairs(count: int = 60) -> list[Pair]:
    chat = [{"role": "user", "content": "?"}]
    return [Pair(chat, "ref", "short", "much longer") for _ in range(count)]


def asked(bench: tuple[Bench, Judge], kept: Path, **settings: Any) -> dict[str, Any]:
    return preferences(pairs(**settings), bench[1], kept, pause=lambda seconds: None)


def test_a_reply_wins_that_is_preferred_in_both_orders(
    bench: tuple[Bench, Judge], tmp_path: Path
) -> None:
    bench[0].rule = longer
    found = asked(bench, tmp_path)
    assert found == {
        "model": "judge-1", "asked": 60, "won": 60, "even": 0, "lost": 0, "consistent": 60,
        "balance": 1.0, "low": 1.0, "high": 1.0,
    }  # fmt: skip
    assert len(bench[0].seen) == 120
    assert set(bench[0].seen) == {("Bearer s3cret", "/v1/chat/completions")}


def test_a_judge_that_likes_the_first_reply_decides_nothing(
    bench: tuple[Bench, Judge], tmp_path: Path
) -> None:
    bench[0].rule = lambda shown: says("A")
    found = asked(bench, tmp_path)
    assert (found["won"], found["even"], found["lost"], found["consistent"]) == (0, 60, 0, 0)


def test_the_same_pairs_are_not_asked_again_and_no_key_is_kept(
    bench: tuple[Bench, Judge], tmp_path: Path
) -> None:
    bench[0].rule = longer
    assert asked(bench, tmp_path, count=3) == asked(bench, tmp_path, count=3)
    assert len(bench[0].seen) == 6
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"s3cret" in path.read_bytes()]
    assert "s3cret" not in repr(bench[1])


def test_a_refused_key_names_its_variable(bench: tuple[Bench, Judge], tmp_path: Path) -> None:
    bench[0].rule = lambda shown: (401, {})
    with pytest.raises(AccessDenied) as caught:
        asked(bench, tmp_path)
    assert caught.value.hint == "put its key into the environment variable HIENO_JUDGE_API_KEY"


def test_a_busy_judge_is_asked_again_and_a_broken_one_is_given_up(
    bench: tuple[Bench, Judge], tmp_path: Path
) -> None:
    busy = iter([429, 503] * 2)
    bench[0].rule = lambda shown: (status, {}) if (status := next(busy, 0)) else longer(shown)
    assert asked(bench, tmp_path, count=1)["won"] == 1
    bench[0].rule = lambda shown: (500, {"error": "down"})
    with pytest.raises(Unreachable, match="gave no answer: 500 "):
        asked(bench, tmp_path, count=2)
    bench[0].rule = lambda shown: (404, {})
    before = len(bench[0].seen)
    with pytest.raises(Unreachable):
        asked(bench, tmp_path, count=3)
    assert len(bench[0].seen) - before <= 3  # what cannot get better is not tried again


def test_an_answer_that_is_no_completion_is_named(
    bench: tuple[Bench, Judge], tmp_path: Path
) -> None:
    bench[0].rule = lambda shown: (200, ["?"])
    with pytest.raises(HienoError, match="the judge's answer is no chat completion"):
        asked(bench, tmp_path, count=1)
