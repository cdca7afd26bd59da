"""What is billed: opened when a resource begins to cost, closed when it ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime


@dataclass(frozen=True)
class Entry:
    """Something that costs from `since` on; `until` is empty while it still does."""

    resource: str
    meter: str  # what the price list calls it: Standard_E4s_v3, Basic Registry Unit, ...
    quantity: int
    by_the_hour: bool  # False: costs a little for as long as it is there (storage, a registry)
    since: str
    until: str = ""


class Ledger:
    """The bill of one run: who opened what, and whether anybody closed it."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def begin(self, resource: str, meter: str, quantity: int = 1, *, by_the_hour: bool) -> None:
        """Note that a resource costs from now on; another quantity ends the former entry."""
        with self._lock:
            for entry in self._entries:
                if _same(entry, resource) and (entry.meter, entry.quantity) == (meter, quantity):
                    return
            self._close(resource)
            if quantity:
                self._entries.append(Entry(resource, meter, quantity, by_the_hour, _now()))

    def end(self, resource: str) -> None:
        """Note that a resource, and all beneath it, costs nothing any more."""
        with self._lock:
            self._close(resource, beneath=True)

    def running(self) -> list[Entry]:
        """Return what is billed at this moment."""
        with self._lock:
            return [entry for entry in self._entries if not entry.until]

    def by_the_hour(self) -> list[Entry]:
        """Return what is billed by the hour at this moment: what a forgotten evening costs."""
        return [entry for entry in self.running() if entry.by_the_hour]

    def entries(self) -> list[Entry]:
        """Return all that was ever billed."""
        with self._lock:
            return list(self._entries)

    def _close(self, resource: str, *, beneath: bool = False) -> None:
        for index, entry in enumerate(self._entries):
            inside = beneath and entry.resource.lower().startswith(resource.lower() + "/")
            if _same(entry, resource) or (inside and not entry.until):
                self._entries[index] = replace(entry, until=_now())


def _same(entry: Entry, resource: str) -> bool:
    return not entry.until and entry.resource.lower() == resource.lower()


def _now() -> str:
    return datetime.now(UTC).isoformat()
