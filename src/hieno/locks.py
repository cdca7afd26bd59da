"""Locks: one process at a time, and word of it to whoever comes second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hieno.errors import Busy

WAIT = "wait until it ends, then type the same command again"


@contextmanager
def alone(lock: Path, refusal: Callable[[], Busy]) -> Iterator[None]:
    """Hold a lock file; raise the refusal where another process holds it."""
    from filelock import FileLock, Timeout

    held = FileLock(lock, timeout=0)
    try:
        held.acquire()
    except Timeout:
        raise refusal() from None
    try:
        yield
    finally:
        held.release()
