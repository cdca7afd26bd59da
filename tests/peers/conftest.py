"""A container in a process of its own, for clients that other people wrote."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from hieno.endpoint import control
from hieno.endpoint.state import DeploymentSpec
from hieno.ports import free_port
from hieno.processes import python_module


@dataclass(frozen=True)
class Container:
    """Where a model answers, what it is called, and whether it keeps to a JSON schema."""

    url: str
    constrains: bool
    name: str = "peer"
    key: str = "no-key-needed"


@pytest.fixture(scope="module")
def container(
    tiny_model: Path, tiny_package: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    root, folder = tiny_package or tiny_model, tmp_path_factory.mktemp("peers")
    with serving(root, folder, "--cache-gb", "1") as url:
        yield Container(f"{url}/v1", constrains=tiny_package is not None)


@dataclass(frozen=True)
class Layer:
    """Where one of our two servers answers, and with which headers."""

    url: str
    headers: dict[str, str]


@pytest.fixture(scope="module")
def layers(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Layer]]:
    """A container whose answers have a few tokens at most, and the gateway before it."""
    folder = tmp_path_factory.mktemp("layers") / "peer"
    command = python_module("hieno.serve", str(tiny_model), "--port", "{port}", "--name", "peer")
    flags = ("--engine", "transformers", "--max-new-tokens", "4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        status = control.deploy(
            folder,
            DeploymentSpec("1", (*command, *flags)),
            port=free_port(),
            wait=300,
            say=print,
        )
    try:
        port = status.deployments["blue"].instances[0].port
        key = control.keys(folder).primary.get_secret_value()
        yield {
            "container": Layer(f"http://127.0.0.1:{port}", {}),
            "gateway": Layer(status.url, {"Authorization": f"Bearer {key}"}),
        }
    finally:
        control.down(folder)


@contextmanager
def serving(root: Path, folder: Path, *flags: str) -> Iterator[str]:
    port, log = free_port(), folder / "log"
    command = python_module("hieno.serve", str(root), "--port", str(port), "--name", "peer")
    with log.open("wb") as output:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*command, *flags], stdout=output, stderr=output, env=environment
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _ready(url):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "no readiness within a minute"
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False
