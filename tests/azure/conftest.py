"""An emulated Azure, and this process's variables pointing at it.

The clients are Azure's own. What the emulator accepts is accepted by it, not by Azure:
docs/emulator.md says what it does not prove.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from emulator import azurite
from emulator.cloud import Cloud
from emulator.server import running
from emulator.settings import Settings
from hieno.cli.commands import hieno

PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")

Emulated = Callable[..., AbstractContextManager[Cloud]]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("azure").setLevel(logging.CRITICAL)


@pytest.fixture
def emulated(tmp_path: Path) -> Emulated:
    """Start an emulated Azure of one's own: `with emulated(Settings(...)) as cloud`."""

    @contextmanager
    def start(settings: Settings | None = None) -> Iterator[Cloud]:
        with running(tmp_path / "azure", settings) as cloud, pointed_at(cloud):
            yield cloud

    return start


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud for all tests of a module."""
    with running(tmp_path_factory.mktemp("azure")) as cloud, pointed_at(cloud):
        yield cloud


@pytest.fixture(scope="session")
def blobs() -> None:
    """Skip where Azurite, behind every emulated storage account, cannot be had."""
    try:
        azurite.script()
    except azurite.NoAzurite as error:
        pytest.skip(str(error))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a project for Azure."""
    folder = tmp_path / "books"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    text = "name: books\nmodel: demo\nazure:\n  preset: cpu\n"
    (folder / "hieno.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run `hieno azure ...` in this process."""

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(hieno, ["azure", *words])

    return invoke


@contextmanager
def pointed_at(cloud: Cloud) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment().items():
            patch.setenv(name, value)
        for name in PROXIES:
            patch.delenv(name, raising=False)
        yield
