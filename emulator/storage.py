"""Storage accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.cloud import Cloud


class Storage:
    """The storage accounts of one cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud


def register(cloud: Cloud) -> None:
    """Register storage accounts."""
