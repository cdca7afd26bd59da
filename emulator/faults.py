"""Faults on demand: what goes wrong, where, and how often.

    throttle at=PUT:*/onlineEndpoints/* times=2 retry_after=1
    preempt at=job-7

`KINDS` lists them. Those that are an answer are given by `hosts.py` before the service sees the
call; the others are asked for by the service that they concern, with `take`.
"""

from __future__ import annotations

import fnmatch
import shlex
import threading
from dataclasses import dataclass, field

KINDS = {
    "conflict": "409 Conflict",
    "throttle": "429 Too Many Requests with Retry-After (retry_after=SECONDS)",
    "unavailable": "503 Service Unavailable with Retry-After",
    "error": "500 Internal Server Error",
    "cut": "the connection ends before an answer, and nothing was done",
    "lost-answer": "what was asked is done, and the connection ends before the answer",
    "lost-poll": "the status of a long operation is 404, once for each time",
    "slow": "a long operation needs polls=N more polls; a job waits as long in the queue",
    "fail-operation": "a long operation ends as Failed (code=, message=)",
    "refuse-quota": "a request for more quota is refused",
    "missing-role": "403 AuthorizationFailed, as while a new role is not yet known everywhere",
    "late-role": "a role (at=ROLE or WHO/ROLE) is not yet known everywhere, for times=N checks",
    "preempt": "a low-priority node is taken away from a running job",
    "build-image": "the image of an environment cannot be built",
    "crash": "the container of a deployment ends before it is ready",
}


@dataclass
class Fault:
    """One thing that goes wrong. `at` is METHOD:PATH for calls, else a resource's id or name."""

    kind: str
    at: str = "*"
    times: int = 1
    after: int = 0  # so many matches go well first
    details: dict[str, str] = field(default_factory=dict)
    met: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind!r}; there are {', '.join(KINDS)}")


def parse_fault(text: str) -> Fault:
    """Read `kind at=PATTERN times=N after=N key=value`. Raises `ValueError`."""
    kind, *words = shlex.split(text)
    given = dict(word.split("=", 1) for word in words)
    at, times, after = (
        given.pop("at", "*"),
        int(given.pop("times", "1")),
        int(given.pop("after", "0")),
    )
    return Fault(kind, at, times, after, given)


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._met: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Plan a fault, written as `parse_fault` reads it."""
        with self._lock:
            self._planned.append(parse_fault(text))

    def clear(self) -> None:
        """Forget what was planned."""
        with self._lock:
            self._planned.clear()

    def take(self, kind: str, subject: str) -> Fault | None:
        """Return the planned fault of this kind for `subject` and count it, or None."""
        with self._lock:
            for fault in self._planned:
                if fault.kind != kind or not _matches(fault.at, subject):
                    continue
                fault.met += 1
                if fault.met <= fault.after:
                    continue
                if fault.met >= fault.after + fault.times:
                    self._planned.remove(fault)
                self._met.append((kind, subject))
                return fault
        return None

    def met(self) -> list[tuple[str, str]]:
        """Return the faults that happened, in order, each with what it hit."""
        with self._lock:
            return list(self._met)

    def pending(self) -> list[Fault]:
        """Return the faults that did not happen yet."""
        with self._lock:
            return list(self._planned)


def _matches(pattern: str, subject: str) -> bool:
    wanted, given = pattern.lower(), subject.lower()
    return fnmatch.fnmatchcase(given, wanted) or fnmatch.fnmatchcase(given, f"*/{wanted}")
