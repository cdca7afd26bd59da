"""Every call that was made and how it was answered, in a file."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any  # Any: bodies are JSON

_GUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)

_OWN = (".api.azureml.ms", ".inference.ml.azure.com", ".blob.core.windows.net")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. Bodies are there where they are JSON."""

    method: str
    host: str
    path: str
    query: dict[str, str]
    status: int
    sent: Any = None
    answered: Any = None
    client: str = ""
    fault: str = ""  # the fault that answered instead of the service


class Trace:
    """The exchanges of one run, in the order in which they ended; a long run fills no memory."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.refused: list[str] = []  # connections to names that are not Azure's
        self._kinds: set[str] = set()
        self._lock = threading.Lock()
        self._stream = file.open("ab")
        self._began = self._ends = self._stream.tell()  # an earlier run may have used the folder

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange."""
        with self._lock:
            self._kinds.add(_kind(exchange))
            if not self._stream.closed:
                self._ends += self._stream.write(json.dumps(asdict(exchange)).encode() + b"\n")
                self._stream.flush()

    def read(self) -> Iterator[Exchange]:
        """Yield the exchanges that there have been until now."""
        with self._lock:
            ends = self._ends
        with self.file.open("rb") as stream:
            stream.seek(self._began)
            while stream.tell() < ends:
                yield Exchange(**json.loads(stream.readline()))

    @property
    def exchanges(self) -> list[Exchange]:
        """All of them at once."""
        return list(self.read())

    def calls(self) -> list[str]:
        """Return each kind of call once, sorted, without what differs from run to run."""
        with self._lock:
            return sorted(self._kinds)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _kind(exchange: Exchange) -> str:
    words = _GUID.sub("*", exchange.path).split("/")
    # in a resource's path every other word is somebody's name for it
    if "providers" in [word.lower() for word in words] or "resourcegroups" in exchange.path.lower():
        words = _without_names(words)
    version = exchange.query.get("api-version", "")
    host = exchange.host
    if host.endswith(_OWN):  # the first word is a region, an endpoint or an account
        host = "*." + host.split(".", 1)[1]
    return f"{exchange.method} {host} {'/'.join(words)} {version}".strip()


def _without_names(words: list[str]) -> list[str]:
    kept, name_next, namespace_next = [], False, False
    for word in words:
        if namespace_next:
            kept.append(word)
            namespace_next, name_next = False, False
        elif word.lower() == "providers" and not name_next:
            kept.append(word)
            namespace_next = True
        else:
            kept.append("*" if name_next else word)
            name_next = bool(word) and not name_next
    return kept
