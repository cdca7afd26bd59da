"""A tiny Phi-3.5 as its hub publishes it, and a private cache for each test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "templates"))

from tiny_phi import publish_phi


@pytest.fixture(scope="session")
def published_phi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_phi(tmp_path_factory.mktemp("phi") / "files")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache folder of its own."""
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"
