"""An emulated Azure in this process, and its variables, for the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ground import emulated

from emulator.cloud import Cloud
from emulator.contract import deviations


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud for a module's tests, and this process's variables pointing at it."""
    with emulated(tmp_path_factory.mktemp("azure")) as cloud:
        yield cloud
        assert "\n".join(map(str, deviations(cloud))) == ""
        assert cloud.trace.refused == []
