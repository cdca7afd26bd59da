"""Every call that was made and how it was answered, in memory and in a file."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import asdict, dataclass, field
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


@dataclass
class Trace:
    """The exchanges of one run, in the order in which they ended."""

    file: Path
    exchanges: list[Exchange] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # connections to names that are not Azure's

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stream = self.file.open("a", encoding="utf-8")

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange."""
        with self._lock:
            self.exchanges.append(exchange)
            if not self._stream.closed:
                self._stream.write(json.dumps(asdict(exchange)) + "\n")
                self._stream.flush()

    def calls(self) -> list[str]:
        """Return each kind of call once, sorted, without what differs from run to run."""
        return sorted({_kind(exchange) for exchange in list(self.exchanges)})

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
