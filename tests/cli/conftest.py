"""What the command line's tests share: a place of their own, a runner, a project."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cli_running import HIENO, Run, run_here


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HIENO_DEBUG", raising=False)


@pytest.fixture
def run() -> Run:
    """Run one command in this process."""
    return run_here


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a valid `hieno.yaml`."""
    (tmp_path / "hieno.yaml").write_text(
        "name: books\nmodel: demo\ntrain:\n  epochs: 5\n", encoding="utf-8"
    )
    return tmp_path.resolve()


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=30, trust_env=False).status_code == 200
    except httpx.ConnectError:
        return False


@pytest.fixture(scope="session")
def server(tiny_model: Path) -> Iterator[str]:
    """The address at which `hieno serve` serves the tiny model."""
    command = [*HIENO, "serve", str(tiny_model), "--json", "--max-requests", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(4)]
        told = json.loads(b"".join(lines))
        assert told["root"] == str(tiny_model)
        assert b"engine transformers" in process.stderr.readline()
        deadline = time.monotonic() + 180
        while not is_up(str(told["url"])):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.2)
        yield str(told["url"])
        process.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
        assert process.wait(timeout=30) == 0
