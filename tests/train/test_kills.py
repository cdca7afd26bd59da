"""Whatever ends a run, the same command ends in the same weights: kills anywhere, full disks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from forks import DEADLINE, fork
from planning import Silent, planned, rows
from test_loop import train, weights

from hieno.errors import DiskFull
from hieno.stages import run_plan
from hieno.train.watch import METRICS

# Kills itself as `kill -9` would: when a step is reported, or within a save of it.
KILL_ITSELF = """
import os, signal, sys
from pathlib import Path
import test_loop as t
from planning import Silent
from hieno.train import checkpoints

model, folder, step, moment = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

class Deadly(Silent):
    def progress(self, done, *_):
        if done == step and moment == "report":
            os.kill(os.getpid(), signal.SIGKILL)

def complete(work, saved, whole=checkpoints.complete):
    if saved == step and moment == "save":
        os.kill(os.getpid(), signal.SIGKILL)
    whole(work, saved)

checkpoints.complete = complete
t.train(model, folder, Deadly())
"""


@contextmanager
def child(code: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run code beside the tests, and end it when the block is left."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end_of(folder: Path) -> tuple[float, int, str]:
    """Return a run's last loss, how many tokens it counted, and the digest of its weights."""
    metrics = rows(folder / "work")
    assert [row["step"] for row in metrics] == list(range(1, 17))
    return metrics[-1]["loss"], metrics[-1]["tokens"], weights(folder)


@pytest.mark.parametrize(("step", "moment"), [(3, "report"), (10, "save")])
def test_a_killed_run_continues_to_the_same_weights(
    tiny_model: Path, tmp_path: Path, step: int, moment: str
) -> None:
    train(tiny_model, tmp_path / "whole")
    killed = tmp_path / "killed"
    with child(KILL_ITSELF, tiny_model, killed, step, moment) as process:
        assert process.wait(DEADLINE) == -signal.SIGKILL
    assert train(tiny_model, killed).resumed_from == step - 1
    assert end_of(killed) == end_of(tmp_path / "whole")


@pytest.mark.slow  # twenty processes are started and killed; two kills are in the default suite
def test_twenty_kills_at_random_moments_change_nothing(tiny_model: Path, tmp_path: Path) -> None:
    train(tiny_model, tmp_path / "whole")
    draw = random.Random(20)  # noqa: S311  # moments, nothing secret
    found, resumed = set(), []
    for number in range(int(os.environ.get("KILLS", "20"))):
        killed = tmp_path / f"killed-{number}"
        process = fork(train, tiny_model, killed)
        lasting = _until_step(process, killed / "work" / METRICS, draw.randint(1, 15))
        process.join(draw.uniform(0, lasting))  # somewhere in a step, or in its save
        process.kill()
        process.join(DEADLINE)
        resumed.append(train(tiny_model, killed).resumed_from)
        found.add(end_of(killed))
    assert found == {end_of(tmp_path / "whole")}
    assert len(set(resumed)) > len(resumed) / 4  # they were killed at different steps


def test_a_disk_that_fills_up_within_a_save_is_named_and_the_run_goes_on_from_before(
    tiny_model: Path, tmp_path: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has a full disk to write to")

    class FullAt(Silent):
        def __init__(self, work: Path, name: str) -> None:
            self._file = work / "checkpoint-7" / name

        def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
            if done == 7:
                self._file.parent.mkdir()
                self._file.symlink_to("/dev/full")

    whole, plan = (planned(tiny_model, tmp_path / name) for name in ("whole", "full"))
    run_plan(whole, Silent())
    for name in ("optimizer.pt", "trainer_state.json"):
        with pytest.raises(DiskFull) as caught:
            run_plan(plan, FullAt(Path(plan.work), name))
        assert caught.value.exit_code == 3
        assert not Path(plan.output).exists()
    run_plan(plan, Silent())
    ends = [Path(p.output) / "adapter" / "adapter_model.safetensors" for p in (whole, plan)]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    metrics = [rows(Path(p.output)) for p in (whole, plan)]
    assert [row["step"] for row in metrics[1]] == list(range(1, 25))
    assert metrics[0][-1]["tokens"] == metrics[1][-1]["tokens"]


def _until_step(process: BaseProcess, metrics: Path, step: int) -> float:
    """Return when a run has taken a step; return about how long one takes."""
    deadline, tick = time.monotonic() + DEADLINE, threading.Event()
    began: float | None = None
    while (taken := _lines(metrics)) < step:
        if taken and began is None:
            began = time.monotonic()
        assert process.is_alive()
        assert time.monotonic() < deadline
        tick.wait(0.01)
    return 0.1 if began is None else (time.monotonic() - began) / max(1, step - 1)


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0
