"""A real server in a process of its own, and the real OpenAI client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from hieno.errors import Interrupted
from hieno.ports import free_port
from hieno.processes import python_module
from hieno.serve.server import serve
from tiny import make_model

SECRET = "xyzzy-prompt-that-no-log-may-hold"
CONTEXT = 32_768
ENDLESS = 30_000  # tokens: more than a socket's buffers hold, longer than any test waits


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    url: str
    log: Path
    client: httpx.Client

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, f"no {what} within a minute"
            time.sleep(0.02)

    def in_flight(self) -> int:
        return int(self.client.get(f"{self.url}/health").json()["in_flight"])

    def ready(self) -> bool:
        try:
            return self.client.get(f"{self.url}/health").status_code == 200
        except httpx.TransportError:
            return False


def start(root: Path, folder: Path, *flags: str) -> Server:
    port = free_port()
    lineage = folder / "lineage.json"
    lineage.write_text(json.dumps({"model_version": "7", "data_digest": "ab12"}), encoding="utf-8")
    arguments = [str(root), "--port", str(port), "--name", "blue", "--lineage", str(lineage)]
    log = folder / "log"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    with log.open("wb") as output:
        process = subprocess.Popen(
            python_module("hieno.serve", *arguments, *flags),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    server = Server(process, f"http://127.0.0.1:{port}", log, httpx.Client())
    server.wait_for(server.ready, "readiness")
    return server


@pytest.fixture(scope="module")
def started() -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for each in servers:
        each.process.kill()
        each.process.wait()
        each.client.close()


@pytest.fixture
def server(started: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server of the tests before, or a new one where a test has ended that."""
    if not started or started[-1].process.poll() is not None:
        folder = tmp_path_factory.mktemp("server")
        model = make_model(folder / "model", context=CONTEXT)
        most = str(ENDLESS)
        flags = ("--engine", "transformers", "--max-requests", "8", "--max-new-tokens", most)
        started.append(start(model, folder, *flags))
    return started[-1]


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_openai_client_chats_and_streams(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="blue",
        messages=[{"role": "user", "content": "Who?"}],
        max_completion_tokens=12,
        extra_body={"ignore_eos": True},
    )
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 12
    stream = client.chat.completions.create(
        model="blue",
        messages=[{"role": "user", "content": "Who?"}],
        max_completion_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [model.id for model in client.models.list()] == ["blue"]


def test_the_openai_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("nothing")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(
            model="blue", messages=[{"role": "user", "content": "Who?"}], temperature=2.5
        )
    assert wrong.value.param == "temperature"
    assert wrong.value.request_id
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(
            model="blue",
            messages=[{"role": "user", "content": "boats " * CONTEXT}],
            stream=True,
        )
    assert long.value.code == "context_length_exceeded"


def endless(text: str = "Who?") -> dict[str, object]:
    return {
        "model": "blue",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": ENDLESS,
        "ignore_eos": True,
        "stream": True,
    }


def test_a_client_that_hangs_up_frees_its_slot(server: Server) -> None:
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=endless()) as response:
        lines = response.iter_lines()  # held: httpx hangs up as soon as this one is gone
        next(lines)
        assert server.in_flight() == 1
    server.wait_for(lambda: server.in_flight() == 0, "free slot after a stream")


def test_a_client_that_hangs_up_before_the_answer_frees_its_slot(server: Server) -> None:
    body = json.dumps({**endless(), "stream": False}).encode()
    host, port = server.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)))) as connection:
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        server.wait_for(lambda: server.in_flight() == 1, "request in flight")
    server.wait_for(lambda: server.in_flight() == 0, "free slot after hanging up")
    server.wait_for(lambda: " 499 " in server.log.read_text(encoding="utf-8"), "499 in the log")


def test_overload_is_refused_with_429_and_nobody_gets_anothers_answer(server: Server) -> None:
    questions = [f"{number} boats?" for number in range(32)]

    def ask(question: str) -> tuple[int, str]:
        params = {"max_new_tokens": 8, "ignore_eos": True}
        body = {"input_data": [question], "params": params}
        response = httpx.post(f"{server.url}/score", json=body, timeout=60)
        return response.status_code, response.json()[0] if response.is_success else ""

    expected = {question: ask(question)[1] for question in questions}
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, questions))
    assert {status for status, _ in answers} <= {200, 429}
    answered = [(q, text) for q, (status, text) in zip(questions, answers, strict=True) if text]
    assert len(answered) >= 8
    assert all(expected[question] == text for question, text in answered)
    assert server.in_flight() == 0


def test_no_prompt_and_no_path_leaves_through_log_or_error(server: Server) -> None:
    url = f"{server.url}/v1/chat/completions"
    bodies = [
        {"model": "blue", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 1},
        {"model": "blue", "messages": [{"role": SECRET, "content": "x"}]},
        {"model": "blue", "messages": [{"role": "user", "content": SECRET}], "stop": 5},
        {"model": "blue", "messages": [{"role": "assistant", "content": SECRET}]},
        {"model": "blue", "messages": [{"role": "user", "content": f"{SECRET} " * CONTEXT}]},
    ]
    for body in bodies:
        response = httpx.post(url, json=body)
        assert SECRET not in response.text or response.status_code == 200
        assert "/site-packages/" not in response.text
    httpx.get(f"{server.url}/a%0Ab%1b")
    line = "GET /a\\nb\\u001b 404 "
    server.wait_for(lambda: line in server.log.read_text(encoding="utf-8"), "access line")
    assert SECRET not in server.log.read_text(encoding="utf-8")


def test_sigterm_finishes_what_is_being_answered_and_ends_with_0(server: Server) -> None:
    body = {**endless(), "max_tokens": 40}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body) as response:
        assert response.headers["hieno-model-version"] == "7"
        assert response.headers["hieno-data-digest"] == "ab12"
        lines = response.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert server.process.wait(timeout=30) == 0
    log = server.log.read_text(encoding="utf-8")
    assert log.startswith("hieno: engine transformers: it was asked for\n")
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--max-requests", "0"], 2, "hieno: --max-requests: Input should be greater than or"),
        (["--engine", "other"], 2, "hieno: there is no engine 'other'\nhint: engines are auto,"),
        (["--lineage", "nothing.json"], 2, "hieno: there is no nothing.json\nhint: leave out"),
    ],
)
def test_a_wrong_flag_is_named_with_a_hint(
    tiny_model: Path, flags: list[str], code: int, words: str
) -> None:
    command = python_module("hieno.serve", str(tiny_model), "--port", str(free_port()), *flags)
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert ended.returncode == code
    assert ended.stderr.startswith(words)


def test_a_taken_port_is_said_before_the_model_is_loaded(tiny_model: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        command = python_module("hieno.serve", str(tiny_model), "--port", port)
        ended = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"hieno: port {port} is taken\nhint: ")


def test_servers_that_start_together_never_meet(tmp_path: Path) -> None:
    told: list[str] = []

    def another(url: str) -> None:
        """Start the next server while this one has not loaded its model yet."""
        told.append(url)
        if len(told) < 3:
            serve(tmp_path, tell=another)
        raise Interrupted("they have all chosen", hint="")

    with pytest.raises(Interrupted):
        serve(tmp_path, tell=another)
    assert len(set(told)) == 3
