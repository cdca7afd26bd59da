"""Processes beside a test that need not import torch and its libraries, as they are forks."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from planning import EndedAt

from hieno.stages import StagePlan
from hieno.train import stage
from hieno.train.group import RENDEZVOUS

DEADLINE = 600.0


def fork(target: Callable[..., Any], *arguments: object) -> BaseProcess:
    """Start a function in a fork of a process that has imported what training needs."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["hieno.train.loop"])
    process = forks.Process(target=target, args=arguments)
    process.start()
    return process


def together(plan: StagePlan, meeting: Path, *, killed_at: int = 0) -> list[int | None]:
    """Run a plan in two processes that train together; return how each ended.

    They meet at the file `meeting`. With `killed_at` the first is killed at that step.
    """
    ranks = [fork(_member, rank, plan, meeting, killed_at) for rank in (0, 1)]
    for process in ranks:
        process.join(DEADLINE)
        process.kill()
    return [process.exitcode for process in ranks]


def _member(rank: int, plan: StagePlan, meeting: Path, killed_at: int) -> None:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({name: str(number) for name, number in numbers.items()})
    os.environ.update({RENDEZVOUS: str(meeting), "GLOO_SOCKET_IFNAME": "lo"})
    stage.run(plan, EndedAt(killed_at))
