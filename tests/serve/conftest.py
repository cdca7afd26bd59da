"""One loaded engine for all serving tests; a fresh service for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Client

from hieno.config import Serve
from hieno.serve.engines import Engine
from hieno.serve.engines.choice import open_engine
from hieno.serve.model import Model, read_model

SETTINGS = Serve(max_new_tokens=64, max_requests=4)


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Model:
    return read_model(tiny_model, SETTINGS)


@pytest.fixture(scope="session")
def engine(tiny_model: Path) -> Iterator[Engine]:
    import torch

    # For so small a model a second thread costs more than it brings, most of all on busy cores.
    torch.set_num_threads(1)
    opened = open_engine(tiny_model, name="transformers", settings=Serve())
    yield opened
    opened.close()


@pytest.fixture
def client(engine: Engine, model: Model) -> Client:
    return Client(engine, model, SETTINGS)
