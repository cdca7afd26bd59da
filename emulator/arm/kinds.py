"""What a service knows about a type of resource that it owns.

A type that nobody registered is stored as it is sent. A `Kind` says what the service adds, what
takes long and what it refuses; templates, stacks and plain PUTs all go through it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any  # Any: JSON

from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource

if TYPE_CHECKING:
    from emulator.cloud import Cloud


def nothing(cloud: Cloud, resource: Resource, old: Resource | None = None) -> None:
    """Do nothing: what a kind does that has nothing to add."""


@dataclass(frozen=True)
class Kind:
    """One type of resource. All functions may raise `ArmError`.

    `fill` checks what was asked for and adds what the service sets; it is quick and refuses before
    anything is made. `build` makes it: its failure leaves the resource as Failed. `refuse_removal`
    is asked before a removal, `remove` does it.
    """

    type: str  # as Azure spells it
    fill: Callable[[Cloud, Resource, Resource | None], None] = nothing
    build: Callable[[Cloud, Resource], None] | None = None
    refuse_removal: Callable[[Cloud, Resource], None] = nothing
    remove: Callable[[Cloud, Resource], None] = nothing
    slow_removal: bool = False
    has_state: bool = True  # whether it has properties.provisioningState
    stamped: bool = True  # whether it has systemData
    retained: bool = False  # whether a removed one keeps its name for a while (soft delete)


class Kinds:
    """The registered types."""

    def __init__(self) -> None:
        self._by_type: dict[str, Kind] = {}
        self.words: dict[str, str] = {}  # how Azure spells namespaces and types

    def add(self, *kinds: Kind) -> None:
        """Register types."""
        for kind in kinds:
            self._by_type[kind.type.lower()] = kind
            self.words.update({word.lower(): word for word in kind.type.split("/")})

    def of(self, id: ResourceId) -> Kind:
        """Return what is known about an id's type."""
        return self._by_type.get(id.type.lower()) or Kind(id.type)

    def knows(self, type: str) -> bool:
        """Tell whether somebody registered a type."""
        return type.lower() in self._by_type


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return `old` with what `new` says, object by object; null removes (a JSON merge patch)."""
    merged = dict(old)
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged
