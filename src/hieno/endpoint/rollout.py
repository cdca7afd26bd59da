"""Bring an endpoint from one state to the next, and back when the next one does not work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from hieno.endpoint import lifetime, state, watch
from hieno.endpoint.examination import LEAST_LIKENESS, Examination, Question
from hieno.endpoint.state import Desired, Observed, write_desired
from hieno.endpoint.watch import Guard, Watch
from hieno.errors import HienoError, Unreachable

SHOWN_LINES = 5


def switch(
    folder: Path,
    before: Desired | None,
    wanted: Desired,
    *,
    new: str,
    wait: float,
    say: Callable[[str], None],
    guard: Guard | None = None,
    questions: Sequence[Question] = (),
) -> None:
    """Start `new` beside what serves, ask it, then move the traffic to what is wanted.

    With a guard the traffic moves in its steps, each watched at the gateway; without one, at
    once. Raises `HienoError`, with `before` in force again, where the new deployment does not
    start or answer within `wait` seconds, answers otherwise than when it was evaluated, or fails
    under traffic.
    """
    deadline = time.monotonic() + wait
    beside = replace(_beside(new, before, wanted), settled=False)
    old = beside.live()
    try:
        idle = _examine(folder, new, beside, questions, deadline, say)
        if guard and old:
            _shift(folder, new, old, beside, guard, say, idle=idle)
    except BaseException:
        _go_back(folder, before)
        raise
    _settle(folder, wanted)
    shares = [f"{name} {share}%" for name, share in wanted.traffic.items() if share]
    served = f"{new} serves version {wanted.deployments[new].version}"
    say(served if wanted.traffic.get(new) == 100 else f"{served}: {', '.join(shares)}")
    for name in before.deployments if before else ():
        if name not in wanted.deployments:
            say(f"{name} stops when its last answers are finished")


def keep(
    folder: Path,
    wanted: Desired,
    *,
    wait: float,
    credential: SecretStr = lifetime.NO_CREDENTIAL,
) -> None:
    """Make sure that what should serve serves, with changed limits or base where they differ."""
    deadline = time.monotonic() + wait
    if wanted != state.read_desired(folder):
        wanted = _write(folder, wanted)
    lifetime.start(folder, credential=credential)
    for name, spec in wanted.deployments.items():
        if wanted.traffic.get(name) or spec.url:  # elsewhere all are running
            _wait_until_ready(folder, name, wanted, deadline)


def split(folder: Path, wanted: Desired) -> None:
    """Change the shares of deployments that are all running."""
    lifetime.start(folder)
    _settle(folder, wanted)


def settled(folder: Path) -> Desired | None:
    """Return what should be; a roll-out that was killed half-way counts as one that failed."""
    found = state.read_desired(folder)
    if found is None or found.settled:
        return found
    old = [name for name in found.traffic if name != found.newest]
    if not old:
        return replace(found, settled=True)
    deployments = {name: one for name, one in found.deployments.items() if name != found.newest}
    return replace(
        found,
        traffic={old[0]: 100},
        deployments=deployments,
        retired={},
        newest=old[0],
        settled=True,
    )


def _beside(new: str, before: Desired | None, wanted: Desired) -> Desired:
    """Return what serves now, with `new` beside it and without traffic."""
    if before is None:
        return replace(wanted, traffic={}, mirror={})
    live = before.live()
    if before.traffic.get(new) and before.deployments[new] != wanted.deployments[new]:
        # it is replaced: all of the traffic to the other one
        traffic: Mapping[str, int] = {live: 100} if live and live != new else {}
    else:
        traffic = before.traffic
    both = {**before.deployments, **wanted.deployments}
    return replace(wanted, traffic=traffic, deployments=both, mirror={})


def _examine(
    folder: Path,
    new: str,
    beside: Desired,
    questions: Sequence[Question],
    deadline: float,
    say: Callable[[str], None],
) -> float:
    """Start the new deployment and ask it; return for how many seconds nobody else has asked."""
    say(f"{new} starts with version {beside.deployments[new].version}")
    asked = _write(folder, beside)
    lifetime.start(folder)
    _wait_until_ready(folder, new, asked, deadline)
    examination = Examination(folder, beside.port, new)
    idle = time.time() - watch.read(examination.metrics()).last
    if problem := examination.first(timeout=deadline - time.monotonic()):
        reason = f"it did not answer a first question: {problem}"
        raise _failed(folder, new, beside, f"did not start: {reason}")
    if not questions:
        return idle
    like = examination.likeness(questions, timeout=deadline - time.monotonic())
    if like < LEAST_LIKENESS:
        raise _failed(
            folder,
            new,
            beside,
            f"does not answer as it was evaluated: {len(questions)} held-out questions, likeness"
            f" {like:.2f} (at least {LEAST_LIKENESS:g})",
        )
    say(f"{new} answers {len(questions)} held-out questions as it was evaluated ({like:.2f})")
    return idle


def _shift(
    folder: Path,
    new: str,
    old: str,
    beside: Desired,
    guard: Guard,
    say: Callable[[str], None],
    *,
    idle: float,
) -> None:
    """Give the new deployment more and more of the traffic for as long as all goes well."""
    examination = Examination(folder, beside.port, new)

    def look() -> watch.Reading:
        return watch.read(examination.metrics())

    def ask() -> str:
        problem = examination.first(timeout=beside.limits.request_timeout)
        return problem and f"it did not answer a question: {problem}"

    watching = Watch(new, old, guard, look=look, ask=ask, idle=idle)
    for share in guard.steps:
        _settle(folder, replace(beside, traffic={old: 100 - share, new: share}))
        if problem := watching.step():
            raise _failed(folder, new, beside, f"failed at {share}% of the traffic: {problem}")
        say(f"{new} has {share}% of the traffic")


def _settle(folder: Path, wanted: Desired) -> None:
    """Say what should be and wait until the gateway has done it."""
    done = _write(folder, wanted)
    moved = lifetime.wait_until(
        folder, lambda seen: seen.revision >= done.revision, lifetime.GATEWAY_START
    )
    if not moved:
        raise Unreachable(
            f"the gateway of {folder.name} has not moved the traffic yet",
            hint="`hieno status` shows when it has",
        )


def _write(folder: Path, wanted: Desired) -> Desired:
    now = state.read_desired(folder)
    numbered = replace(wanted, revision=now.revision + 1 if now else 1)
    write_desired(folder, numbered)
    return numbered


def _wait_until_ready(folder: Path, name: str, wanted: Desired, deadline: float) -> None:
    def settled(seen: Observed) -> bool:
        if seen.revision < wanted.revision or name not in seen.deployments:
            return False
        if any(one.state == "failed" for one in seen.deployments[name].instances):
            reason = seen.deployments[name].error
            raise _failed(folder, name, wanted, f"did not start: {reason}", reason)
        return all(one.state == "ready" for one in seen.deployments[name].instances)

    if not lifetime.wait_until(folder, settled, deadline - time.monotonic()):
        raise _failed(folder, name, wanted, "did not start: it was not ready in time")


def _failed(folder: Path, name: str, wanted: Desired, problem: str, reason: str = "") -> HienoError:
    log = state.log_path(folder, name)
    lines = [line for line in state.last_lines(log, SHOWN_LINES) if line != reason]
    version = wanted.deployments[name].version
    serving = [other for other, share in wanted.traffic.items() if share > 0 and other != name]
    message = [f"{name} (version {version}) {problem}", *lines]
    message += [f"{other} goes on as before" for other in serving]
    return HienoError(
        "\n".join(message), hint=f"{log} holds all that it said; correct it, then deploy again"
    )


def _go_back(folder: Path, before: Desired | None) -> None:
    if before:
        _write(folder, before)
        return
    lifetime.stop(folder)
    (folder / state.DESIRED).unlink(missing_ok=True)
    (folder / state.OBSERVED).unlink(missing_ok=True)
