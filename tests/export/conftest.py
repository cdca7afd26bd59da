"""Packages of tiny real models, registered in projects of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "templates"))

from exporting import make_phi, make_project

from hieno.project import Project


@pytest.fixture
def project(tiny_model: Path, tmp_path: Path) -> Project:
    """A project whose version 1, the champion, is the tiny ChatML model."""
    return make_project(tmp_path / "project", tiny_model)


@pytest.fixture(scope="session")
def phi_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Phi-3 with its published template and a tokenizer of sentencepiece's kind."""
    return make_phi(tmp_path_factory.mktemp("phi3") / "model")
