"""Azure Machine Learning: workspaces and all that lies in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.cloud import Cloud


class MachineLearning:
    """The workspaces of one cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud


def register(cloud: Cloud) -> None:
    """Register the service's kinds of resources and its routes."""
