"""The gateway's log, read again: which deployment answered a request, with which version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOG = "gateway.log"

# As `Outgoing.line` writes it, behind the time. What a client chose (path and id) has no spaces.
_LINE = re.compile(
    r"(?P<time>[0-9-]{10} [0-9:]{8}),[0-9]{3} (?P<method>\S+) (?P<path>\S+) (?P<status>[0-9]{3})"
    r"(?: [A-Za-z]+)? (?P<milliseconds>[0-9]+)ms [0-9]+B"
    r" (?:-|(?P<deployment>[A-Za-z0-9-]+)(?::(?P<version>\S+))?) (?P<id>\S+)"
)


@dataclass(frozen=True)
class Asked:
    """One request; `deployment` and `version` are None where no model saw it.

    `times` says how many requests in the log have this id: a client may give its own.
    """

    id: str
    time: str
    endpoint: str
    method: str
    path: str
    status: int
    milliseconds: int
    deployment: str | None
    version: str | None
    times: int = 1


def find_request(endpoints: Path, request_id: str) -> Asked | None:
    """Return the newest request with an id from the logs of all endpoints in a folder."""
    newest: Asked | None = None
    times = 0
    for log in _logs(endpoints):
        for found in _with_id(log, request_id):
            times += 1
            if newest is None or found["time"] >= newest.time:
                newest = Asked(
                    id=request_id,
                    time=found["time"],
                    endpoint=log.parent.name,
                    method=found["method"],
                    path=found["path"],
                    status=int(found["status"]),
                    milliseconds=int(found["milliseconds"]),
                    deployment=found["deployment"],
                    version=found["version"],
                )
    return newest and Asked(**{**vars(newest), "times": times})


def _logs(endpoints: Path) -> Iterator[Path]:
    """Yield the logs that are kept, each endpoint's earlier one first."""
    for name in (f"{LOG}.1", LOG):
        yield from sorted(endpoints.glob(f"*/{name}"))


def _with_id(log: Path, request_id: str) -> Iterator[re.Match[str]]:
    ending = f" {request_id}"
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                text = line.rstrip("\n")
                if text.endswith(ending) and (found := _LINE.fullmatch(text)):
                    yield found
    except FileNotFoundError:  # it has just begun anew
        return
