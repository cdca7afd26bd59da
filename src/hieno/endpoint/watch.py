"""What the gateway measures while a new deployment gets traffic, and when that is too bad.

The numbers are those of the gateway's own `/metrics`, as any dashboard sees them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ENOUGH = 10  # answers of both sides, before their times are compared
LEAST_SLOWDOWN = 0.25  # seconds; a smaller difference is nobody's reason to go back
QUIET = 1.0  # seconds without a request, after which there is no traffic to wait for
POLL = 0.1


@dataclass(frozen=True)
class Guard:
    """How a new deployment is brought in: percent of the traffic, and what is borne at each."""

    steps: tuple[int, ...] = (10, 50, 100)
    step_requests: int = 20
    step_seconds: float = 30.0
    max_errors: float = 0.02
    max_slowdown: float = 3.0


@dataclass(frozen=True)
class Tally:
    """Answers of one deployment so far; `faster` counts those within so many seconds."""

    answers: int = 0
    failures: int = 0
    faster: Mapping[float, int] = field(default_factory=dict)

    def since(self, earlier: Tally) -> Tally:
        """Return what has come after an earlier tally."""
        faster = {b: count - earlier.faster.get(b, 0) for b, count in self.faster.items()}
        return Tally(self.answers - earlier.answers, self.failures - earlier.failures, faster)

    def seconds(self, share: float) -> float:
        """Return a quantile of the time of an answer, linear within its bucket."""
        wanted, below, before = share * self.answers, 0.0, 0
        for bound, count in sorted(self.faster.items()):
            if count >= wanted and count > before:
                part = (wanted - before) / (count - before)
                return below + part * ((bound if bound < float("inf") else below) - below)
            below, before = bound, count
        return below


@dataclass(frozen=True)
class Reading:
    """One look at `/metrics`; `last` is when a request last came, in seconds since 1970."""

    tallies: Mapping[str, Tally]
    in_flight: Mapping[str, int]
    last: float

    def of(self, name: str) -> Tally:
        return self.tallies.get(name, Tally())


def read(page: str) -> Reading:
    """Read the text of `/metrics`."""
    from prometheus_client.parser import text_string_to_metric_families

    answers: dict[str, int] = {}
    failures: dict[str, int] = {}
    faster: dict[str, dict[float, int]] = {}
    flying: dict[str, int] = {}
    last = 0.0
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            name, value = sample.labels.get("deployment", ""), sample.value
            match sample.name:
                case "hieno_request_seconds_count":
                    answers[name] = int(value)
                case "hieno_request_seconds_bucket":
                    faster.setdefault(name, {})[float(sample.labels["le"])] = int(value)
                case "hieno_failures_total":
                    failures[name] = int(value)
                case "hieno_in_flight":
                    flying[name] = int(value)
                case "hieno_last_request_timestamp_seconds":
                    last = value
    tallies = {name: Tally(answers[name], failures.get(name, 0), faster[name]) for name in answers}
    return Reading(tallies, flying, last)


class Watch:
    """Follows one roll-out. `look` reads `/metrics`, `ask` asks the new one and returns a problem.

    `idle` is for how many seconds nobody else had asked when it began.
    """

    def __init__(
        self,
        new: str,
        old: str,
        guard: Guard,
        *,
        look: Callable[[], Reading],
        ask: Callable[[], str],
        idle: float,
    ) -> None:
        self._new, self._old, self._guard = new, old, guard
        self._look, self._ask = look, ask
        self._began = look()
        self._active = time.monotonic() - idle

    def step(self) -> str:
        """Watch until the step has shown enough; return what is wrong, or nothing.

        Without traffic that is at once, after a question of our own.
        """
        first = self._look()
        if problem := self._ask():
            return problem
        seen, asked = self._look(), 1
        deadline = time.monotonic() + self._guard.step_seconds
        while True:
            now = self._look()
            late = time.monotonic() > deadline
            problem = self._judge(now, first, asked, late=late)
            if self._signs(now) != self._signs(seen):
                self._active = time.monotonic()
            if problem or late or self._is_enough(now, first, asked):
                return problem
            seen = now
            time.sleep(POLL)

    def _signs(self, reading: Reading) -> list[int]:
        """Return what changes when a request comes or goes."""
        names = (self._new, self._old)
        return [
            n for name in names for n in (reading.of(name).answers, self._flying(reading, name))
        ]

    def _flying(self, reading: Reading, name: str) -> int:
        return reading.in_flight.get(name, 0)

    def _is_enough(self, now: Reading, first: Reading, asked: int) -> bool:
        answered = now.of(self._new).since(first.of(self._new)).answers - asked
        # all clients may be waiting for the new one: that is no silence
        waiting = self._flying(now, self._new)
        quiet = not waiting and time.monotonic() - self._active > QUIET
        return quiet or answered >= self._guard.step_requests

    def _judge(self, now: Reading, first: Reading, asked: int, *, late: bool) -> str:
        new = now.of(self._new).since(first.of(self._new))
        old = now.of(self._old).since(self._began.of(self._old))
        return (
            self._failing(new, old)
            or self._slow(new, old)
            or (self._stuck(now, new, old, asked) if late else "")
        )

    def _failing(self, new: Tally, old: Tally) -> str:
        borne = self._guard.max_errors + (old.failures / old.answers if old.answers else 0.0)
        # a single failure proves nothing, unless none is to be borne
        most = max(1 if self._guard.max_errors else 0, borne * new.answers)
        return f"{new.failures} of {new.answers} answers failed" if new.failures > most else ""

    def _slow(self, new: Tally, old: Tally) -> str:
        if new.answers < ENOUGH or old.answers < ENOUGH:
            return ""
        late, usual = new.seconds(0.95), old.seconds(0.95)
        if late <= self._guard.max_slowdown * usual or late <= usual + LEAST_SLOWDOWN:
            return ""
        return f"95% of its answers took up to {late:.2f} s, those of {self._old} {usual:.2f} s"

    def _stuck(self, now: Reading, new: Tally, old: Tally, asked: int) -> str:
        waiting = self._flying(now, self._new)
        if new.answers > asked or not waiting or not old.answers:
            return ""
        return f"none of its {waiting} requests was answered in {self._guard.step_seconds:g} s"
