"""A gateway before an Azure endpoint: our keys on this side, its credential on that side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from azure_endpoint import Azure, serving
from pydantic import SecretStr
from rehearsal import LIMITS, Endpoint, Load

from hieno import ports
from hieno.endpoint import control, remote
from hieno.endpoint.remote import Remote
from hieno.endpoint.state import DeploymentSpec
from hieno.errors import HienoError, UsageError
from waiting import wait_until


def specs(azure: Azure) -> dict[str, DeploymentSpec]:
    blue = DeploymentSpec("3", (), url=azure.url, data_digest="ab12")
    named = {
        name: DeploymentSpec(name, (), url=azure.url, remote_name=name, only_score=name == "script")
        for name in ("base", "script")
    }
    return {"blue": blue, **named}


def front(folder: Path, azure: Azure, credential: str, *, wait: float = 60) -> None:
    secret = SecretStr(credential)
    port = ports.free_port()
    control.front(folder, specs(azure), secret, port=port, wait=wait, limits=LIMITS)


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    with serving(tmp_path_factory.mktemp("azure")) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(made.certificate))
        yield made


@pytest.fixture(scope="module")
def fronted(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path_factory.mktemp("fronted") / "hieno")
    front(made.folder, azure, azure.credential)
    yield made
    control.down(made.folder)


def test_our_key_is_taken_here_and_its_credential_there(azure: Azure, fronted: Endpoint) -> None:
    answer = fronted.ask(question="Who?")
    assert (answer.status_code, answer.json()) == (200, {"name": "blue", "path": "/score"})
    key = control.keys(fronted.folder).primary.get_secret_value()
    seen = azure.asked[-1]
    assert seen["authorization"] == f"Bearer {azure.credential}"
    assert seen["host"] == azure.url.removeprefix("https://")
    assert not any(key in value for value in seen.values())
    with fronted.client(key="wrong") as client:
        assert client.post("/score", json={}).status_code == 401
    with fronted.client(key=azure.credential) as client:
        assert client.post("/score", json={}).status_code == 401


def test_the_credential_is_in_no_file_no_process_list_and_no_environment(
    azure: Azure, fronted: Endpoint
) -> None:
    gateway = psutil.Process(fronted.gateway().pid)
    assert azure.credential not in " ".join(gateway.cmdline())
    assert azure.credential not in repr(gateway.environ())
    for path in fronted.folder.iterdir():
        assert azure.credential not in path.read_text(encoding="utf-8"), path


def test_deployments_there_are_named_here(fronted: Endpoint) -> None:
    with fronted.client() as client:
        named = client.post("/v1/chat/completions", json={"model": "base"})
        assert named.json()["name"] == "base"
        headers = {"azureml-model-deployment": "other"}
        assert client.post("/score", json={}, headers=headers).status_code == 404


def test_where_only_one_address_gets_through_a_header_says_which_is_meant(
    azure: Azure, fronted: Endpoint
) -> None:
    with fronted.client() as client:
        asked = client.post("/v1/chat/completions", json={"model": "script"})
        assert asked.json() == {"name": "script", "path": "/score"}
        assert azure.asked[-1]["hieno-route"] == "/v1/chat/completions"
        headers = {"azureml-model-deployment": "script"}
        assert client.post("/score", json={}, headers=headers).json()["path"] == "/score"
        assert "hieno-route" not in azure.asked[-1]


@pytest.mark.parametrize("status", [400, 429, 500])
def test_what_its_container_refuses_is_unwrapped_and_wrapped_once(
    fronted: Endpoint, status: int
) -> None:
    with fronted.client() as client:
        scored = client.post("/score", json={"status": status})
        asked = client.post("/v1/chat/completions", json={"status": status})
    assert (scored.status_code, scored.json()) == (424, {"message": "as told"})
    told = scored.headers.get_list("ms-azureml-model-error-statuscode")
    assert told == [str(status)]
    assert (asked.status_code, asked.json()) == (status, {"message": "as told"})
    assert "ms-azureml-model-error-statuscode" not in asked.headers


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (404, '{"message": "no valid deployment with positive weight"}', "model_not_found"),
        (408, "upstream request timeout", "request_timeout"),
        (429, "", "rate_limit_exceeded"),
    ],
)
def test_what_it_refuses_by_itself_is_said_in_both_dialects(
    fronted: Endpoint, status: int, text: str, code: str
) -> None:
    with fronted.client() as client:
        scored = client.post("/score", json={"own": status})
        asked = client.post("/v1/chat/completions", json={"own": status})
    assert (scored.status_code, scored.text) == (status, text)
    assert (asked.status_code, asked.json()["error"]["code"]) == (status, code)


def test_a_stream_is_relayed(fronted: Endpoint) -> None:
    answer = fronted.ask(stream=True)
    assert answer.text == 'data: {"answer": "one"}\n\ndata: {"answer": "two"}\n\n'


def test_a_renewed_credential_takes_effect_and_a_refused_one_is_no_401(
    azure: Azure, fronted: Endpoint
) -> None:
    url = fronted.status().url
    front(fronted.folder, azure, "expired")
    refused = fronted.ask()
    # the client's own key is in order: a 401 would send it looking for another one
    assert refused.status_code == 424
    assert refused.headers["ms-azureml-model-error-reason"] == "model_not_ready"
    front(fronted.folder, azure, azure.credential)
    assert fronted.ask().status_code == 200
    assert fronted.status().url == url


def test_another_version_there_interrupts_nobody_here(azure: Azure, fronted: Endpoint) -> None:
    gateway = fronted.gateway()
    newer = {name: replace(spec, version="4") for name, spec in specs(azure).items()}
    credential = SecretStr(azure.credential)
    with Load(fronted) as load:
        control.front(fronted.folder, newer, credential, port=1024, limits=LIMITS, renewed=False)
        wait_until(lambda: load.seen["blue"] > 50, "answers")
    assert set(load.seen) == {"blue"}
    assert fronted.gateway() == gateway
    more = {**newer, "green": DeploymentSpec("5", (), url=azure.url, remote_name="green")}
    control.front(fronted.folder, more, credential, port=1024, limits=LIMITS, renewed=False)
    with fronted.client() as client:  # it can be asked as soon as it is named
        named = client.post("/score", json={}, headers={"azureml-model-deployment": "green"})
    assert named.json()["name"] == "green"
    assert fronted.status().deployments["blue"].version == "4"


def test_an_address_without_tls_is_refused(tmp_path: Path) -> None:
    for url in ("http://example.org", "https://user@example.org", "https://example.org/score"):
        with pytest.raises(UsageError, match="without a path"):
            control.front(
                tmp_path / "hieno",
                {"blue": DeploymentSpec("1", (), url=url)},
                SecretStr("x"),
                port=ports.free_port(),
            )
    assert not (tmp_path / "hieno" / "keys.json").exists()


def test_an_untrusted_certificate_is_not_spoken_to(
    azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    before = len(azure.asked)
    folder = tmp_path / "hieno"
    try:
        with pytest.raises(HienoError, match="cannot be reached"):
            front(folder, azure, azure.credential)
    finally:
        control.down(folder)
    assert len(azure.asked) == before


def test_it_is_looked_for_less_often_the_longer_it_is_away() -> None:
    pauses = [remote._pause(missed) for missed in range(9)]
    assert pauses == [15, 1, 1, 1, 2, 4, 8, 15, 15]
    assert remote._pause(10_000) == 15


@pytest.mark.parametrize(
    ("lost", "states"), [(2, ["starting", "ready"]), (3, ["starting", "failed", "ready"])]
)
def test_a_connection_that_is_lost_on_the_way_is_no_failure_and_a_failure_passes(
    lost: int, states: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PROBE_AGAIN", 0.01)
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readline()
        if asked > lost:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def seen() -> list[str]:
        server = await asyncio.start_server(answer, ports.LOOPBACK, 0)
        url = f"http://{ports.LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        found: list[str] = []
        ready = asyncio.Event()

        def changed() -> None:
            found.append(watched.state)
            if watched.state == "ready":
                ready.set()

        watched = Remote(DeploymentSpec("3", (), url=url), SecretStr("secret"), changed=changed)
        running = asyncio.create_task(watched.run())
        async with server, asyncio.timeout(30):
            await ready.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        return found

    assert asyncio.run(seen()) == states
