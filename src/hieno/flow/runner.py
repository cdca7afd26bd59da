"""A project at work in its side environment: lines of inputs go in, answers come out."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast  # Any: JSON of the project

from pydantic import SecretStr

from hieno import processes
from hieno.errors import HienoError, TryLater
from hieno.flow import side
from hieno.flow.frameworks import entry

HINT = "`hieno status` shows whether the endpoint answers; the node's code is in the flow's folder"


class Runner:
    """A process that has loaded a project once and answers several lines at the same time.

    Answers come in the order in which they are ready. Nothing is left in the project's folder.
    `close` it after use.
    """

    def __init__(
        self,
        folder: Path,
        endpoint: str,
        key: SecretStr,
        *,
        workers: int = 1,
        say: Callable[[str], None],
    ) -> None:
        framework, file = entry(folder)
        self.folder, self.workers = folder, workers
        interpreter = side.python(framework, say)
        driver = Path(__file__).parent / "drivers" / framework.driver
        arguments = (str(driver), str(file.resolve()), str(workers))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._process = subprocess.Popen(
            # No compiled files of the user's modules: the folder stays as it was.
            side.command(interpreter, "-B", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=side.environment(endpoint, key),
            encoding="utf-8",
        )
        # Both were opened as pipes.
        self._stdin = cast("IO[str]", self._process.stdin)
        self._stdout = cast("IO[str]", self._process.stdout)
        self._told: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self._stdout,), daemon=True)
        self._reader.start()

    def ask(self, line: int, inputs: Mapping[str, Any]) -> None:
        """Send a line; do not send more than `workers` at once, or the answers must be read."""
        self._send({"line": line, "inputs": inputs})

    def aggregate(self, seconds: float) -> dict[str, Any]:
        """Return the metrics of all lines so far, which must have been read."""
        self._send({"aggregate": True})
        told = self.told(seconds)
        if "metrics" not in told:
            raise HienoError(f"the flow in {self.folder} failed: {told['error']}", hint=HINT)
        return dict(told["metrics"])

    def told(self, seconds: float) -> dict[str, Any]:
        """Return the next answer: `line` with `outputs` or `error`, and the `seconds` it took."""
        try:
            told = self._told.get(timeout=seconds)
        except queue.Empty:
            raise TryLater(
                f"the flow did not answer within {seconds:.0f} seconds", hint=HINT
            ) from None
        if told is None:
            raise HienoError(f"the flow's process ended by itself\n{self._last()}", hint=HINT)
        if "failed" in told:
            raise HienoError(
                f"the flow in {self.folder} does not load: {told['failed']}", hint=HINT
            )
        return told

    def close(self) -> None:
        """End the process; lines that are not answered are given up."""
        # Also what a node has started: it would hold the pipes open, and outlive the batch.
        processes.stop(processes.identify(self._process.pid), grace=0)
        self._process.wait()
        self._reader.join(timeout=10)
        _close(self._stdin)
        _close(self._log)
        if not self._reader.is_alive():  # a process that escaped may still hold the other end
            _close(self._stdout)

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._stdin.write(json.dumps(message, ensure_ascii=True) + "\n")
            self._stdin.flush()
        except OSError:  # it has ended: reading says why
            return

    def _read(self, stream: IO[str]) -> None:
        for text in stream:
            self._told.put(json.loads(text))
        self._told.put(None)

    def _last(self) -> str:
        self._log.seek(0)
        text = self._log.read().decode("utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-5:])


def _close(stream: IO[Any]) -> None:
    try:
        stream.close()
    except OSError:  # a last line that the ended process did not take
        return
