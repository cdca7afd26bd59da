"""What strangers and careless clients do to an endpoint; `test_abuse_cases.py` has the list."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import MutableMapping
from typing import Any

import psutil
import pytest
from rehearsal import Endpoint

from hieno.endpoint import control, incoming
from hieno.endpoint.incoming import Incoming, Refused
from hieno.endpoint.outgoing import ClientLeft, Outgoing
from hieno.endpoint.state import Limits
from waiting import wait_until

SECRETS = ("Traceback", "site-packages", "/src/", "hieno/", ".py", "0x", "uvicorn", "h11")


@pytest.fixture(scope="module")
def key(running: Endpoint) -> str:
    return control.keys(running.folder).primary.get_secret_value()


def raw(running: Endpoint, head: bytes, *, key: str = "", body: bytes = b"") -> bytes:
    """Send bytes as they are, and return all that comes back."""
    port = int(running.status().url.rpartition(":")[2])
    bearer = b"authorization: Bearer %s\r\n" % key.encode() if key else b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head + b"\r\nhost: localhost\r\nconnection: close\r\n" + bearer + body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_key_of_ten_kilobytes_is_a_wrong_one(running: Endpoint) -> None:
    with running.client(key="x" * 10_000) as client:
        assert client.post("/score", json={}).status_code == 401


def test_pages_of_other_origins_get_no_permission(running: Endpoint) -> None:
    asks = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    with running.client() as client:
        answers = [
            client.options("/score", headers=asks),
            client.options("/v1/chat/completions", headers=asks),
            client.post("/score", json={}, headers=asks),
            client.get("/health", headers=asks),
        ]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "line",
    [
        b"azureml-model-deployment: blue\rset-cookie: a=b",
        b"azureml-model-deployment: blue\x00",
        b"x-request-id: a\rb",
        b"x-request-id : a",
        b" folded: a",
        b"transfer-encoding: chunked\r\ncontent-length: 2",
        b"transfer-encoding: gzip",
        b"content-length: 2\r\ncontent-length: 3",
    ],
)
def test_headers_that_could_be_read_in_two_ways_are_refused(
    running: Endpoint, key: str, line: bytes
) -> None:
    answer = raw(running, b"POST /score HTTP/1.1", key=key, body=line + b"\r\n\r\n0\r\n\r\n")
    # 401: what was folded became a part of the key
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 501")
    assert b"set-cookie" not in answer.lower()


def test_log_has_one_line_a_request_whatever_is_in_it(running: Endpoint, key: str) -> None:
    log = running.folder / "gateway.log"
    before = len(log.read_text(encoding="utf-8").splitlines())
    targets = (b"/a%0Ab", b"/a\x1bc", b"/score?q=%0d%0aINJECTED", b"/\xe2\x80\xae")
    for target in targets:
        raw(running, b"GET " + target + b" HTTP/1.1", key=key, body=b"\r\n")

    def lines() -> list[str]:
        return log.read_text(encoding="utf-8").splitlines()[before:]

    wait_until(lambda: len([one for one in lines() if "GET /a" in one]) >= 1, "the log")
    assert all(line.isprintable() and "INJECTED" not in line for line in lines())
    assert all(line.split(" ")[2] == "GET" for line in lines())


def test_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "BODY_TIMEOUT", 0.05)
    pieces = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> MutableMapping[str, Any]:
        if pieces:
            return pieces.pop()
        return await asyncio.Future()

    scope = {
        "method": "POST",
        "raw_path": b"/score",
        "path": "/score",
        "query_string": b"",
        "headers": [(b"content-length", b"100")],
    }
    with pytest.raises(Refused) as caught:
        asyncio.run(Incoming(scope, receive).call(Limits(), "id", []))
    assert caught.value.problem.status == 408


def test_client_that_does_not_read_is_given_up() -> None:
    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Future()

    async def answer() -> None:
        scope = {"method": "POST", "raw_path": b"/score"}
        outgoing = Outgoing(scope, send, timeout=0.05)
        await outgoing.start(200, [])
        await outgoing.chunk(b"data")

    with pytest.raises(ClientLeft):
        asyncio.run(answer())


def test_refusals_tell_nothing_about_the_machine(running: Endpoint) -> None:
    with running.client() as client, running.client(key="wrong") as stranger:
        answers = [
            stranger.post("/score", json={}),
            stranger.get("/v1/models"),
            client.get("/nothing"),
            client.put("/score"),
            client.post("/score", content=b" " * 100_001),
            client.post("/v1/chat/completions", content=b" " * 100_001),
            client.post("/score", headers={"azureml-model-deployment": "../../etc/passwd"}),
            client.post("/score", headers={"x-request-id": "x" * 101}),
            client.get("/score", headers={"host": "evil.example"}),
            client.get("/score", headers={"x-padding": "x" * 20_000}),
        ]
    assert {answer.status_code for answer in answers} == {400, 401, 404, 405, 413, 431}
    for answer in answers:
        assert not [word for word in SECRETS if word in answer.text], answer.text
        assert "server" not in answer.headers


def test_keys_are_in_no_process_list(running: Endpoint, key: str) -> None:
    family = [psutil.Process(process.pid) for process in running.processes()]
    family.append(psutil.Process(running.gateway().pid))
    for process in family:
        assert key not in " ".join(process.cmdline())
        assert key not in repr(process.environ())
