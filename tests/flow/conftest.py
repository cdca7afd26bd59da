"""A stand-in for a model's endpoint, and a project of the module's own that serves in front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_served import KEY_SECRET

from endpoint import Endpoint, running
from hieno import flow


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def fresh(endpoint: Endpoint) -> None:
    """Let the endpoint forget what it was asked and what it was to say."""
    endpoint.requests.clear()
    endpoint.replies.clear()


@pytest.fixture(scope="module")
def served(
    folder: Path, endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[flow.Served]:
    """The server of the project in `folder`, which a module makes."""
    state = tmp_path_factory.mktemp("state")
    yield flow.start(folder, endpoint.url, KEY_SECRET, state=state, say=print)
    flow.stop(state)
