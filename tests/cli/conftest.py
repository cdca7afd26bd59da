"""What the command line's tests share: a place of their own, a runner, a project."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_running import Run, run_here


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
