"""What exists: every resource of the subscription, by its id."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any  # Any: resources are JSON

from emulator.arm.errors import ArmError, not_found
from emulator.arm.ids import ResourceId


@dataclass
class Resource:
    """A resource: what a GET shows, and what its service keeps to itself."""

    id: ResourceId
    body: dict[str, Any]
    private: dict[str, Any] = field(default_factory=dict)
    busy: bool = False  # a long operation works on it

    @property
    def properties(self) -> dict[str, Any]:
        """The part that belongs to the type."""
        properties: dict[str, Any] = self.body.setdefault("properties", {})
        return properties

    @property
    def region(self) -> str:
        """The region, as ids spell it."""
        return str(self.body.get("location", "")).lower().replace(" ", "")

    def shown(self) -> dict[str, Any]:
        """Return a copy of the body, as it is at this moment."""
        return copy.deepcopy(self.body)


class Resources:
    """The resources by id. `lock` is for whoever reads, decides and writes."""

    def __init__(self) -> None:
        self._by_key: dict[str, Resource] = {}
        self.lock = threading.RLock()

    def get(self, id: ResourceId | str) -> Resource | None:
        """Return a resource, or None."""
        return self._by_key.get(_key(id))

    def require(self, id: ResourceId | str) -> Resource:
        """Return a resource. Raises 404."""
        found = self.get(id)
        if found is None:
            raise missing(id if isinstance(id, ResourceId) else ResourceId(id))
        return found

    def put(self, resource: Resource) -> None:
        """Keep a resource under its id."""
        with self.lock:
            self._by_key[resource.id.key] = resource

    def remove(self, id: ResourceId | str) -> list[Resource]:
        """Take a resource away with all that lies in it or on it; return them, the inmost first."""
        with self.lock:
            inside = [self._by_key.pop(one.id.key) for one in self.within(id)]
            found = self._by_key.pop(_key(id), None)
            return [*inside, found] if found else inside

    def within(self, id: ResourceId | str) -> list[Resource]:
        """Return all that lies in a resource or on it, the inmost first."""
        with self.lock:
            prefix = _key(id) + "/"
            return [
                one
                for key, one in sorted(self._by_key.items(), reverse=True)
                if key.startswith(prefix)
            ]

    def children(self, collection: str) -> list[Resource]:
        """Return a collection's members: `children(f"{workspace}/computes")`, the eldest first."""
        with self.lock:
            prefix = collection.lower().rstrip("/") + "/"
            return [
                one
                for key, one in self._by_key.items()
                if key.startswith(prefix) and "/" not in key[len(prefix) :]
            ]

    def of_type(self, kind: str) -> list[Resource]:
        """Return the resources of a type."""
        return [one for one in self if one.id.type.lower() == kind.lower()]

    def __iter__(self) -> Iterator[Resource]:
        with self.lock:
            return iter(list(self._by_key.values()))


def missing(id: ResourceId) -> ArmError:
    """Say that a resource is not there, as its service does."""
    if id.type.endswith("/resourceGroups"):
        return ArmError(
            404, "ResourceGroupNotFound", f"Resource group '{id.name}' could not be found."
        )
    return not_found("/".join(id.text.rpartition("/providers/")[2].split("/")))


def now() -> str:
    """Return the time as Azure writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _key(id: ResourceId | str) -> str:
    return id.key if isinstance(id, ResourceId) else id.lower().rstrip("/")
