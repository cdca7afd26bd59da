"""Endpoints for tests: one for a whole module, or a fresh one that a test may break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rehearsal import Endpoint, spec
from visiting import Books

from hieno.endpoint import control


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path / "hieno")
    yield made
    control.down(made.folder)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path_factory.mktemp("endpoint") / "hieno")
    made.deploy(spec("1"), base=spec("base"))
    yield made
    control.down(made.folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Books]:
    """An endpoint that the test may break."""
    made = Books(tmp_path / "books")
    made.start()
    yield made
    control.down(made.folder)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    made = Books(tmp_path_factory.mktemp("page") / "books")
    made.start()
    yield made
    control.down(made.folder)
