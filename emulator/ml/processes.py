"""The processes of one attempt at a job: on each node one for each of its workers."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator.ml.groups import code_of, send
from hieno.ports import free_port

_GRACE = 2.0


@dataclass(frozen=True)
class Shape:
    """How many nodes, how many processes on each, and whether PyTorch is to find them all."""

    nodes: int = 1
    per_node: int = 1
    torch: bool = False

    @property
    def all(self) -> int:
        """How many processes there are."""
        return self.nodes * self.per_node


@dataclass(frozen=True)
class Worker:
    """One running process and the file that it says everything to."""

    process: subprocess.Popen[bytes]
    log: Path


class Workers:
    """The processes of one attempt."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def said(self) -> dict[str, bytes]:
        """Return what each has said so far, by the name of its log."""
        return {worker.log.name: worker.log.read_bytes() for worker in self._workers}

    def code(self) -> int | None:
        """Return the exit code: the first that is not 0, else 0 once all ended, else None."""
        codes = [code_of(worker.process) for worker in self._workers]
        failed = [code for code in codes if code]
        if failed:
            return failed[0]
        return None if None in codes else 0

    def end(self, *, kill: bool = False) -> None:
        """End all: ask, wait a moment, then kill; or kill at once, as a node that is taken away."""
        if not kill:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + _GRACE
            while self._alive() and time.monotonic() < deadline:
                time.sleep(0.02)
        self._signal(signal.SIGKILL)
        for worker in self._workers:
            worker.process.wait()

    def _alive(self) -> bool:
        return any(code_of(worker.process) is None for worker in self._workers)

    def _signal(self, number: int) -> None:
        for worker in self._workers:
            # also when the leader ended: what it started may go on in its group
            send(worker.process, number)


def start(
    command: str,
    shape: Shape,
    *,
    folders: Sequence[Path],
    logs: Path,
    environments: Sequence[Mapping[str, str]],
) -> Workers:
    """Start a job's command in each node's folder, with each node's variables."""
    logs.mkdir(parents=True, exist_ok=True)
    port, workers = str(free_port()), []
    for rank in range(shape.all):
        node, local = divmod(rank, shape.per_node)
        name = "std_log.txt" if shape.all == 1 else f"std_log_process_{rank}.txt"
        place = {
            "NODE_RANK": str(node),
            "AZUREML_NODE_COUNT": str(shape.nodes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        if shape.torch:
            place |= {"RANK": str(rank), "LOCAL_RANK": str(local), "WORLD_SIZE": str(shape.all)}
        with (logs / name).open("ab") as output:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=folders[node],
                env={**environments[node], **place},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        workers.append(Worker(process, logs / name))
    return Workers(workers)
