"""What an endpoint's processes have written, at once or as it comes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from hieno.endpoint import state
from hieno.endpoint.state import BASE, COLOURS
from hieno.errors import MissingInput

FOLLOW_POLL = 0.2  # seconds


def last(folder: Path, name: str = "gateway", *, lines: int = 50) -> list[str]:
    """Return the last lines that a deployment (or `gateway`) has written."""
    return state.last_lines(_log(folder, name), lines)


def follow(folder: Path, name: str = "gateway", *, lines: int = 50) -> Iterator[str]:
    """Yield the last lines of a log and then every new one, also after it was begun anew."""
    path = _log(folder, name)
    log = path.open(encoding="utf-8", errors="replace")
    log.seek(0, os.SEEK_END)  # before anything is shown: what comes meanwhile is not lost
    yield from state.last_lines(path, lines)
    while True:
        with log:
            yield from _new_lines(log, path)
        log = path.open(encoding="utf-8", errors="replace")


def _log(folder: Path, name: str) -> Path:
    known = [*COLOURS, BASE, "gateway"]
    path = state.log_path(folder, name)
    if name in known and path.exists():
        return path
    written = [one for one in known if _has_log(folder, one)]
    if not written:
        raise state.missing(folder)
    raise MissingInput(
        f"the endpoint {folder.name} has no log of {name!r}",
        hint=f"name one of {', '.join(written)}",
    )


def _new_lines(log: TextIO, path: Path) -> Iterator[str]:
    """Yield what is appended, until another file has the name."""
    begun = ""
    while True:
        begun += log.readline()
        if begun.endswith("\n"):
            yield begun.rstrip("\n")
            begun = ""
            continue
        try:
            same = os.path.samestat(path.stat(), os.fstat(log.fileno()))
        except FileNotFoundError:  # between the two steps of a rotation
            same = True
        if not same:
            return
        time.sleep(FOLLOW_POLL)


def _has_log(folder: Path, name: str) -> bool:
    return state.log_path(folder, name).exists()
