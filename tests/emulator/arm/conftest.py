"""An emulated Azure for each test, and a client that reaches it as the real SDKs do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plane import Plane

from emulator.cloud import Cloud
from emulator.server import running
from emulator.settings import Settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    """Start an Azure with other settings than the usual ones."""
    started = []

    def begin(**settings: object) -> Cloud:
        context = running(tmp_path / f"cloud-{len(started)}", Settings(**settings))  # type: ignore[arg-type]
        started.append(context)
        return context.__enter__()

    yield begin
    for context in started:
        context.__exit__(None, None, None)


@pytest.fixture
def cloud(start: Callable[..., Cloud]) -> Cloud:
    """An Azure with the usual settings."""
    return start()


@pytest.fixture
def plane(cloud: Cloud) -> Iterator[Plane]:
    """The management plane, with a resource group."""
    with Plane(cloud) as client:
        client.make_group()
        yield client


@pytest.fixture
def sdk(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the real SDKs in this process reach the emulator."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
