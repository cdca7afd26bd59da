"""What a client sees: keys, routes, both error dialects, limits, streams."""

from __future__ import annotations

import json
import socket
import uuid
from pathlib import Path

import httpx
import pytest
from rehearsal import Endpoint

from hieno.endpoint import control
from hieno.endpoint.requests import find_request
from hieno.endpoint.routes import ROUTES
from waiting import wait_until

DENIED = "key_auth_access_denied"
MALFORMED = "key_auth_bad_header_forbidden"


@pytest.fixture(scope="module")
def key(running: Endpoint) -> str:
    return control.keys(running.folder).primary.get_secret_value()


def without_key(running: Endpoint) -> httpx.Client:
    return httpx.Client(base_url=running.status().url, trust_env=False, timeout=30)


def raw(running: Endpoint, request: bytes) -> bytes:
    port = int(running.status().url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def openai_error(answer: httpx.Response) -> dict[str, object]:
    error = answer.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    return dict(error)


def test_both_keys_are_accepted(running: Endpoint) -> None:
    keys = control.keys(running.folder)
    for one in (keys.primary, keys.secondary):
        with running.client(key=one.get_secret_value()) as client:
            assert client.post("/score", json={}).status_code == 200


def test_wrong_key_is_refused_with_plain_text(running: Endpoint, key: str) -> None:
    with without_key(running) as client:
        for wrong in ("x", key[:-1], key + "x", key.upper()):
            answer = client.post("/score", headers={"authorization": f"Bearer {wrong}"})
            assert (answer.status_code, answer.text) == (401, DENIED)
            assert answer.headers["content-type"] == "text/plain"


def test_missing_key_reads_like_a_wrong_one(running: Endpoint) -> None:
    with without_key(running) as client:
        answer = client.post("/score", json={})
    assert (answer.status_code, answer.text) == (401, DENIED)


def test_malformed_header_is_named(running: Endpoint, key: str) -> None:
    values = ["", "Bearer", f"Bearer  {key}", f"bearer {key}", f"Basic {key}", key]
    with without_key(running) as client:
        for value in values:
            answer = client.post("/score", headers={"authorization": value})
            assert (answer.status_code, answer.text) == (401, MALFORMED), value


def test_two_authorization_headers_are_malformed(running: Endpoint, key: str) -> None:
    with without_key(running) as client:
        headers = [("authorization", f"Bearer {key}"), ("authorization", "Bearer x")]
        answer = client.post("/score", headers=headers)
    assert (answer.status_code, answer.text) == (401, MALFORMED)


def test_key_with_other_alphabets_is_wrong_and_not_an_error(running: Endpoint, key: str) -> None:
    with without_key(running) as client:
        for value in (key.replace(key[0], "\u0430"), "\u00e9" * 64):
            header = b"Bearer " + value.encode("utf-8")
            answer = client.post("/score", headers=[(b"authorization", header)])
            assert (answer.status_code, answer.text) == (401, DENIED)


def test_key_in_the_query_is_no_key(running: Endpoint, key: str) -> None:
    with without_key(running) as client:
        assert client.get(f"/score?key={key}&api-key={key}").status_code == 401


def test_openai_routes_refuse_in_their_own_words(running: Endpoint) -> None:
    with without_key(running) as client:
        answer = client.get("/v1/models")
    assert answer.status_code == 401
    assert openai_error(answer)["code"] == "invalid_api_key"


def test_every_route_but_health_and_the_page_needs_a_key(running: Endpoint) -> None:
    page = ["/chat", "/chat/api/completions", "/chat/"]
    assert [route.path for route in ROUTES if route.open] == ["/", "/health", *page]
    closed = [route.path for route in ROUTES if not route.open]
    odd = ["/v1/models", "/score/", "/Score", "/health/", "/x"]
    with without_key(running) as client:
        for path in closed + odd:
            for method in ("GET", "POST", "OPTIONS", "HEAD", "PUT", "DELETE"):
                assert client.request(method, path).status_code == 401, (method, path)
    line = b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    for target in (
        b"//",
        b"//v1/models",
        b"/%2e",
        b"/%2e%2e/health",
        b"/health%2f",
        b"/..",
        b"*",
        b"/;/health",
    ):
        assert raw(running, b"GET " + target + line).startswith(b"HTTP/1.1 401"), target


def test_health_needs_no_key(running: Endpoint) -> None:
    with without_key(running) as client:
        for path in ("/", "/health"):
            answer = client.get(path)
            assert (answer.status_code, answer.text) == (200, "Healthy")


def test_unknown_address_is_404_and_wrong_method_405(running: Endpoint) -> None:
    with running.client() as client:
        for path in ("/x", "/score/", "/v1", "/v1/", "/v1//models", "/v1/%2e%2e/score", "/Score"):
            assert client.get(path).status_code == 404, path
        for method, path in (("PUT", "/score"), ("POST", "/"), ("POST", "/swagger.json")):
            answer = client.request(method, path)
            assert answer.status_code == 405
            assert answer.json() == {"message": "this address does not take that method"}
        assert client.put("/score").headers["allow"] == "POST, GET, OPTIONS"
        assert openai_error(client.delete("/v1/models"))["code"] == "method_not_allowed"


def test_request_and_answer_are_relayed_whole(running: Endpoint) -> None:
    with running.client() as client:
        answer = client.post(
            "/v1/chat/completions?a=1&b=%20x",
            content=b'{"do":"echo","text":"\xc3\xa4"}',
            headers={"x-request-id": "mine", "x-ms-client-request-id": "theirs", "te": "trailers"},
        )
    seen = answer.json()
    assert seen["path"] == "/v1/chat/completions?a=1&b=%20x"
    assert seen["body"] == '{"do":"echo","text":"ä"}'
    assert seen["headers"]["x-request-id"] == "mine"
    assert seen["headers"]["x-ms-client-request-id"] == "theirs"
    assert not {"authorization", "te", "transfer-encoding"} & set(seen["headers"])
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_score_takes_get_and_options(running: Endpoint) -> None:
    with running.client() as client:
        assert client.get("/score?input_data=%5B%22a%22%5D").json()["method"] == "GET"
        assert client.options("/score").json()["method"] == "OPTIONS"
        assert client.get("/swagger.json?version=3").json()["path"] == "/swagger.json?version=3"


def test_an_answer_without_request_id_gets_a_new_one(running: Endpoint) -> None:
    assert uuid.UUID(running.ask().headers["x-request-id"])


def test_long_request_id_is_refused(running: Endpoint) -> None:
    with running.client() as client:
        assert client.post("/score", headers={"x-request-id": "x" * 100}).status_code == 200
        answer = client.post("/score", headers={"x-request-id": "x" * 101})
    assert answer.status_code == 431
    assert answer.json() == {"message": "x-request-id must not exceed 100 visible ASCII characters"}


def test_large_headers_are_refused(running: Endpoint) -> None:
    with running.client() as client:
        assert client.get("/score", headers={"x-padding": "x" * 20_000}).status_code == 431


@pytest.mark.parametrize("status", [201, 400, 415, 429, 500, 503])
def test_score_wraps_any_other_status_as_424(running: Endpoint, status: int) -> None:
    answer = running.ask(do="status", status=status)
    assert answer.status_code == 424
    assert answer.json() == {"message": "as told"}
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"
    assert answer.headers["ms-azureml-model-error-statuscode"] == str(status)


@pytest.mark.parametrize("status", [201, 400, 429, 500])
def test_openai_routes_pass_the_status_through(running: Endpoint, status: int) -> None:
    with running.client() as client:
        answer = client.post("/v1/chat/completions", json={"do": "status", "status": status})
    assert (answer.status_code, answer.json()) == (status, {"message": "as told"})


def test_unknown_deployment_is_404(running: Endpoint) -> None:
    with running.client() as client:
        for name in ("green", "../blue", "", "x" * 1000):
            answer = client.post("/score", json={}, headers={"azureml-model-deployment": name})
            assert answer.status_code == 404
            assert answer.json() == {"message": "no deployment of that name is here"}
        answer = client.post("/v1/completions", headers={"azureml-model-deployment": "green"})
    assert (answer.status_code, openai_error(answer)["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost:x"]
)
def test_foreign_host_is_refused(running: Endpoint, host: str) -> None:
    with running.client() as client:
        for path in ("/", "/score", "/v1/models"):
            assert client.get(path, headers={"host": host}).status_code == 400


def test_localhost_is_no_foreign_host(running: Endpoint) -> None:
    with running.client() as client:
        assert client.get("/score", headers={"host": "localhost:9000"}).status_code == 200


def test_large_body_is_refused_declared_or_chunked(running: Endpoint) -> None:
    big = b" " * 100_001
    with running.client() as client:
        for content in (big, (piece for piece in (big[:60_000], big[60_000:]))):
            answer = client.post("/v1/chat/completions", content=content)
            assert answer.status_code == 413
            assert openai_error(answer)["code"] == "request_too_large"
        assert client.post("/score", content=big[:100_000]).status_code == 200


def test_refusal_reaches_a_client_that_first_sends_all_of_its_body(running: Endpoint) -> None:
    port = int(running.status().url.rpartition(":")[2])
    body = b" " * 12_000_000
    head = b"POST /score HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("length", [b"-1", b"x", b"1, 2"])
def test_lying_length_is_refused(running: Endpoint, key: str, length: bytes) -> None:
    head = b"POST /score HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer " + key.encode()
    answer = raw(running, head + b"\r\ncontent-length: " + length + b"\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 400")


def test_stream_is_relayed_as_it_is_made(running: Endpoint, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    body = {"do": "stream", "file": str(go_on)}
    with running.client() as client, client.stream("POST", "/score", json=body) as answer:
        events = answer.iter_raw()
        assert next(events) == b'data: {"answer": "one"}\n\n'
        go_on.touch()
        assert b"".join(events) == b'data: {"answer": "two"}\n\n'


def test_client_that_leaves_cancels_the_container(running: Endpoint, key: str) -> None:
    cancelled = running.folder / "cancelled"
    body = json.dumps({"do": "hang", "file": str(cancelled)}).encode()
    head = f"POST /score HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
    port = int(running.status().url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head.encode() + b"content-length: %d\r\n\r\n%s" % (len(body), body))
        wait_until(cancelled.with_suffix(".asked").exists, "the container was asked")
    wait_until(cancelled.exists, "the container saw that nobody listens")
    log = running.folder / "gateway.log"
    wait_until(lambda: " 499 ClientLeft " in log.read_text(encoding="utf-8"), "the log says so")


def test_on_demand_deployment_starts_when_it_is_named(running: Endpoint) -> None:
    with running.client() as client:
        headers = {"azureml-model-deployment": "base"}
        assert client.post("/score", json={}, headers=headers).json()["name"] == "base"
        answer = client.post("/v1/chat/completions", json={"model": "base"})
        assert answer.headers["azureml-model-deployment"] == "base"
        nested = client.post("/v1/chat/completions", json={"model": "hieno", "user": "base"})
        assert nested.headers["azureml-model-deployment"] == "blue"
    assert running.status().deployments["base"].state == "ready"


def test_log_is_private_and_holds_no_prompt_and_no_key(running: Endpoint, key: str) -> None:
    with running.client() as client:
        client.get("/score?input_data=my-secret-question")
    log = running.folder / "gateway.log"
    wait_until(lambda: " GET /score 200 " in log.read_text(encoding="utf-8"), "the log says so")
    text = log.read_text(encoding="utf-8")
    asked = [line.rsplit(" ", 1)[-1] for line in text.splitlines() if " GET /score 200 " in line]
    answered = find_request(running.folder.parent, asked[-1])
    assert answered is not None
    assert (answered.deployment, answered.version) == ("blue", "1")
    assert "my-secret-question" not in text
    assert log.stat().st_mode & 0o777 == 0o600
    for path in running.folder.iterdir():
        if path.name != "keys.json":
            assert key not in path.read_text(encoding="utf-8"), path


def test_keys_are_private_and_do_not_show(running: Endpoint, key: str) -> None:
    assert (running.folder / "keys.json").stat().st_mode & 0o777 == 0o600
    assert key not in repr(control.keys(running.folder))


def test_regenerated_key_replaces_one_and_keeps_the_other(running: Endpoint) -> None:
    old = control.keys(running.folder)
    new = control.regenerate(running.folder, "secondary")
    assert new.primary == old.primary
    for one, status in ((old.secondary, 401), (new.secondary, 200), (new.primary, 200)):
        with running.client(key=one.get_secret_value()) as client:
            assert client.post("/score", json={}).status_code == status
