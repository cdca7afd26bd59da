"""The context of a flow's image, and its entry point in an environment of exactly its packages."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from endpoint import KEY, Endpoint
from hieno import environments, flow
from hieno.errors import BadData, UsageError
from hieno.flow.frameworks import AGENTS
from hieno.flow.image import CORE
from hieno.ports import free_port

FLOW_KEY = "a-key-of-the-image"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    flow.init(folder / "flow", name="my-model")
    (folder / "flow/.promptflow").mkdir()
    (folder / "flow/.promptflow/chat.json").write_text("a past question", encoding="utf-8")
    (folder / "flow/data.jsonl").write_text("{}\n", encoding="utf-8")
    flow.build(folder / "flow", folder / "image")
    return folder / "image"


@pytest.fixture(scope="module")
def served(context: Path, endpoint: Endpoint) -> Iterator[str]:
    """The address of the image's entry point, run as the image would run it."""
    python, port = environments.ensure(CORE, say=print), free_port()
    variables = {
        "HIENO_ENDPOINT": endpoint.url,
        "HIENO_API_KEY": KEY,
        "HIENO_FLOW_KEY": FLOW_KEY,
        "HOME": str(context.parent),
        "PATH": os.environ["PATH"],
    }
    log = context.parent / "log"
    with log.open("wb") as output:
        command = [python, "-B", "serve.py", "--port", str(port)]
        process = subprocess.Popen(
            command, cwd=context, env=variables, stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not _healthy(url):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield url
        assert psutil.Process(process.pid).children() == []
    finally:
        process.terminate()
        process.wait(timeout=30)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_the_context_holds_the_flow_its_server_and_pins_and_nothing_else(context: Path) -> None:
    files = {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()}
    assert files == {
        ".dockerignore",
        "Dockerfile",
        "flow/README.md",
        "flow/chat_node.py",
        "flow/flow.dag.yaml",
        "flow/requirements.txt",
        "manifest.json",
        "requirements.txt",
        "serve.py",
    }
    pins = (context / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert pins == environments.pins(CORE).splitlines()
    assert "promptflow-core==1.18.5" in pins
    assert not any(line.startswith("promptflow-devkit") for line in pins)


def test_the_entry_point_answers_those_who_have_the_key(served: str) -> None:
    asked = {"question": "hi"}
    call = f"{served}/score"
    headers = {"authorization": f"Bearer {FLOW_KEY}", "origin": "http://evil.example"}
    reply = httpx.post(call, json=asked, headers=headers, timeout=60, trust_env=False)
    assert reply.json() == {"answer": "1 messages, the last is hi"}
    assert "access-control-allow-origin" not in reply.headers
    for headers in ({}, {"authorization": "Bearer wrong"}):
        assert httpx.post(call, json=asked, headers=headers, trust_env=False).status_code == 401
    assert httpx.get(served, trust_env=False).status_code == 401


def test_other_machines_reach_no_flow_without_a_key(context: Path) -> None:
    python = environments.ensure(CORE, say=print)
    ended = subprocess.run(
        [python, "-B", "serve.py", "--host", "0.0.0.0"],  # noqa: S104 - it is refused
        cwd=context,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 2
    assert "set HIENO_FLOW_KEY first" in ended.stderr


def test_packages_of_the_flows_own_come_along(tmp_path: Path) -> None:
    flow.init(tmp_path / "flow", name="my-model")
    with (tmp_path / "flow/requirements.txt").open("a", encoding="utf-8") as file:
        file.write("# mine\nnumpy==2.4.6\n")
    made = flow.build(tmp_path / "flow", tmp_path / "image")
    lines = (tmp_path / "image/requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines[-2:] == ["# the flow's own", "numpy==2.4.6"]
    assert made.packages == len(lines) - 1


def test_a_key_in_the_flow_is_not_put_into_an_image(tmp_path: Path) -> None:
    flow.init(tmp_path / "flow", name="my-model")
    key = "sk-" + "a1b2" * 8
    (tmp_path / "flow/settings.py").write_text(f'\nKEY = "{key}"\n', encoding="utf-8")
    with pytest.raises(BadData) as caught:
        flow.build(tmp_path / "flow", tmp_path / "image")
    assert caught.value.message.startswith(f"{tmp_path / 'flow/settings.py'}:2: ")
    assert key not in caught.value.message
    assert not (tmp_path / "image").exists()


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    flow.init(tmp_path / "flow", name="my-model")
    (tmp_path / "image").mkdir()
    (tmp_path / "image/thesis.txt").touch()
    with pytest.raises(UsageError, match="holds something else"):
        flow.build(tmp_path / "flow", tmp_path / "image")
    (tmp_path / "image/thesis.txt").unlink()
    flow.build(tmp_path / "flow", tmp_path / "image")
    flow.build(tmp_path / "flow", tmp_path / "image")  # its own it replaces


def test_an_agent_project_is_not_built(tmp_path: Path) -> None:
    flow.init(tmp_path, name="my-model", framework=AGENTS)
    with pytest.raises(UsageError, match="is an agent project"):
        flow.build(tmp_path, tmp_path / "image")
