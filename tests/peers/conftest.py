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


@pytest.fixture(scope="module")
def short_answers(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a container whose answers have a few tokens at most."""
    flags = ("--engine", "transformers", "--max-new-tokens", "4")
    with serving(tiny_model, tmp_path_factory.mktemp("short"), *flags) as url:
        yield url


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
