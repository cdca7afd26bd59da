"""A process between two others, so that a server never outlives who started it.

The keeper holds the reading end of a pipe whose writing end is its starter's alone. However the
starter ends - also by `kill -9` - the pipe closes, and the keeper ends the server and its children.
Closing the pipe is also the normal way to stop a server. Unlike Linux's parent-death signal this
works on every system. A gateway keeps its containers so, and a container its vLLM.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from hieno import processes
from hieno.processes import ProcessId

GRACE = 10.0  # seconds that a container gets to finish its answers
_INHERITED = "-"  # the log of a server whose output goes where ours does
_NOBODY = ProcessId(0, 0.0)


@dataclass(frozen=True)
class Kept:
    """A container with its keeper."""

    container: ProcessId
    keeper: ProcessId
    _process: asyncio.subprocess.Process

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def wait(self) -> int:
        """Wait for the container's end and return its exit code (negative: a signal's number)."""
        code = await self._process.wait()
        return code - 256 if code > 127 else code


@asynccontextmanager
async def started(command: Sequence[str], *, log: Path) -> AsyncIterator[Kept]:
    """Run a container while the context lasts; what it prints is appended to `log`."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *processes.python_module(__name__, str(log), *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    container = _NOBODY
    try:
        keeper = await asyncio.to_thread(processes.identify, process.pid)
        if process.stdout is not None and (said := await process.stdout.readline()):
            container = ProcessId(**json.loads(said))
        yield Kept(container, keeper, process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await _gone(process)
        # only where somebody killed the keeper is there still something to stop
        await asyncio.to_thread(processes.stop, container, grace=GRACE)


def hold(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path | None = None,
    log: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server that ends with this process; it prints to `log`, or to this one's stderr.

    The process returned is the keeper, which ends when the server does; `release` ends both.
    """
    return subprocess.Popen(
        processes.python_module(__name__, str(log) if log else _INHERITED, *command),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=dict(environment),
        cwd=folder,
    )


def release(held: subprocess.Popen[bytes]) -> None:
    """End a server that `hold` has started; return when it is gone."""
    if held.stdin is not None:
        held.stdin.close()
    try:
        held.wait(timeout=GRACE + 10)
    except subprocess.TimeoutExpired:
        held.kill()
        held.wait()


def main(log: str, command: Sequence[str]) -> int:
    """Run a command until it ends or until standard input closes; return its exit code."""
    with _output(log) as output:
        container = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    identity = processes.identify(container.pid)
    print(json.dumps(asdict(identity)), flush=True)
    watch = threading.Thread(target=_end_with_gateway, args=(identity,), daemon=True)
    watch.start()
    code = container.wait()
    _closing.acquire()  # a stop that has begun also ends the container's children
    return code % 256


# Held while the container is being stopped.
_closing = threading.Lock()


@contextmanager
def _output(log: str) -> Iterator[IO[bytes]]:
    if log == _INHERITED:
        yield sys.stderr.buffer
        return
    with Path(log).open("ab") as output:
        yield output


def _end_with_gateway(container: ProcessId) -> None:
    while os.read(0, 1024):
        continue
    with _closing:
        processes.stop(container, grace=GRACE)


async def _gone(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(GRACE + 10):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
