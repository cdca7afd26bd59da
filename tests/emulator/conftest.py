"""An emulated Azure in this process, a workspace in it and its client, for one module's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import ground
import pytest

from emulator.arm.ids import ResourceId
from emulator.cloud import Cloud
from emulator.contract import deviations

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud for a module's tests, and this process's variables pointing at it."""
    with ground.emulated(tmp_path_factory.mktemp("azure")) as cloud:
        yield cloud
        assert "\n".join(map(str, deviations(cloud))) == ""
        assert cloud.trace.refused == []


@pytest.fixture(scope="module")
def workspace(azure: Cloud) -> ResourceId:
    """A workspace with a cluster."""
    made = ground.make_workspace(azure)
    ground.make_cluster(azure, made)
    return made


@pytest.fixture(scope="module")
def ml(azure: Cloud, workspace: ResourceId) -> MLClient:
    """The workspace's client."""
    return ground.client(azure, workspace.name)
