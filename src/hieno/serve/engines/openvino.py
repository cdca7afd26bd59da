"""OpenVINO GenAI on CPUs: continuous batching, paged KV cache, shared prefixes.

Its step holds Python's interpreter lock from beginning to end, a third of a second where prompts
come in. In our process nobody could be answered or refused meanwhile, so it has one of its own.
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any  # JSON

from hieno.config import Serve
from hieno.errors import HienoError
from hieno.processes import python_module
from hieno.serve.engines import Engine, EngineFailed, Token
from hieno.serve.engines.worker import Outcome, Request, Worker
from hieno.serve.model import Model

END_SECONDS = 10.0  # more than the longest step


def open_openvino(folder: Path, model: Model, settings: Serve) -> Engine:
    """Load a converted model; the number of threads and the arithmetic are OpenVINO's choice.

    Raises `HienoError` where it cannot be loaded.
    """
    process = subprocess.Popen(
        python_module("hieno.serve.engines.openvino_process"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    pipeline = _Pipeline(process)
    order = {
        "folder": str(folder),
        # In GiB; whole ones are all that the scheduler takes.
        "cache_size": max(1, round(settings.cache_gb)),
        "max_num_seqs": settings.max_requests,
        "stop_ids": sorted(model.stop_ids),
    }
    try:
        pipeline.exchange(order)
    except BaseException as error:
        pipeline.close()
        if not isinstance(error, _Gone):
            raise
        raise HienoError(
            f"OpenVINO ended with exit code {process.returncode} before the model was loaded",
            hint="the lines above say why; `--engine transformers` always works",
        ) from None
    return Worker("openvino", pipeline, constrains=True)


class _Gone(Exception):
    """The process has ended: there will be no answer."""


class _Pipeline:
    """The backend: a line of JSON with who comes and goes, for a line with a step's tokens."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a process without pipes cannot be spoken to")
        self._process = process
        self._ear, self._mouth = process.stdin, process.stdout
        self._numbers = itertools.count()
        self._running: dict[int, Request] = {}
        self._come: list[tuple[int, Sequence[int], dict[str, Any]]] = []
        self._gone: list[int] = []
        self._busy = False

    def add(self, request: Request) -> None:
        number = next(self._numbers)
        self._running[number] = request
        self._come.append((number, request.prompt, asdict(request.sampling)))

    def cancel(self, request: Request) -> None:
        for number, running in self._running.items():
            if running is request:
                del self._running[number]
                self._gone.append(number)
                return

    def busy(self) -> bool:
        # Also after the last cancellation: only a step gives its cache blocks back.
        return bool(self._running or self._gone) or self._busy

    def step(self) -> list[tuple[Request, Outcome]]:
        if not self.busy():
            return []
        told = self.exchange({"come": self._come, "gone": self._gone})
        self._come, self._gone, self._busy = [], [], told["busy"]
        outcomes: list[tuple[Request, Outcome]] = []
        for number, token_id, finish in told["tokens"]:
            outcomes.append((self._running[number], Token(token_id, finish)))
            if finish:
                del self._running[number]
        for number, message, hint in told["failures"]:
            if request := self._running.pop(number, None):  # else it left as it came
                outcomes.append((request, EngineFailed(message, hint=hint)))
        return outcomes

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End the process: it leaves when nobody speaks to it any more."""
        with suppress(OSError):  # what was still to be written has nobody to read it
            self._ear.close()
        self._mouth.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a line and return the answer; raise `_Gone` where the process has ended."""
        try:
            self._ear.write(json.dumps(message).encode() + b"\n")
            self._ear.flush()
        except OSError:
            raise _Gone from None
        line = self._mouth.readline()
        if not line.endswith(b"\n"):
            raise _Gone
        answer: dict[str, Any] = json.loads(line)
        return answer
