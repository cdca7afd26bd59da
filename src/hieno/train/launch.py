"""One stage as several processes on this machine that train together.

They meet over a file and talk over loopback: torchrun would do the same with a store that listens
on every interface. What torchrun or a cloud started (`RANK` is set) is already one of several.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hieno import machine
from hieno.errors import HienoError
from hieno.processes import python_module
from hieno.reporting import Reporter
from hieno.stages import StagePlan, pass_on, save_plan
from hieno.train.group import RENDEZVOUS

LOOPBACK = {"linux": "lo", "darwin": "lo0"}  # the interface's name


def together(plan: StagePlan, count: int, reporter: Reporter) -> None:
    """Run a plan in `count` processes to its end and pass on what they report.

    Raises what one of them raised, and `HienoError` if one died: then the others are ended. SIGTERM
    is passed on, so that they can save.
    """
    with TemporaryDirectory(prefix="hieno-train-") as folder:
        path = Path(folder) / "plan.json"
        save_plan(plan, path)
        ending, beginning = os.pipe()
        command = python_module("hieno.stages", str(path))
        ranks = [_start(command, rank, count, Path(folder), beginning) for rank in range(count)]
        os.close(beginning)
        with _ended_together(ranks), open(ending, encoding="utf-8") as lines:
            failure = pass_on(lines, reporter)
            codes = [process.wait() for process in ranks]
    if failure is not None:
        raise failure
    if any(codes):
        raise _died(codes)


def _start(
    command: Sequence[str], rank: int, count: int, folder: Path, output: int
) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        **{name: str(rank) for name in ("RANK", "LOCAL_RANK")},
        **{name: str(count) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")},
        RENDEZVOUS: str(folder / "rendezvous"),
    }
    environment.setdefault("OMP_NUM_THREADS", str(max(1, machine.cores() // count)))
    if sys.platform in LOOPBACK:
        environment["GLOO_SOCKET_IFNAME"] = LOOPBACK[sys.platform]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, env=environment)


@contextmanager
def _ended_together(ranks: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """End all as soon as one has failed, or this block is left; pass SIGTERM on meanwhile."""

    def leave_with(process: subprocess.Popen[bytes]) -> None:
        if process.wait():
            _let_go(ranks)

    def terminate(*_: object) -> None:
        for process in ranks:
            process.terminate()

    watchers = [threading.Thread(target=leave_with, args=(process,)) for process in ranks]
    before = signal.signal(signal.SIGTERM, terminate)
    for watcher in watchers:
        watcher.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _let_go(ranks)
        for watcher in watchers:
            watcher.join()


def _let_go(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Close what the processes live by: each ends when nobody waits for it any more."""
    for process in ranks:
        if process.stdin:
            process.stdin.close()


def _died(codes: Sequence[int]) -> HienoError:
    killed = next((rank for rank, code in enumerate(codes) if code < 0), None)
    if killed is None:
        return HienoError(
            f"one of the {len(codes)} processes that train together failed",
            hint="the whole story is in .hieno/logs; the same command goes on from here",
        )
    return HienoError(
        f"process {killed + 1} of {len(codes)} was ended from outside (signal {-codes[killed]})",
        hint="memory may have run out (`hieno doctor`); the same command goes on from here",
    )
