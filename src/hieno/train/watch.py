"""What is done at each step of a run: report, write metrics, save, stop where it must."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # trainer states are untyped in transformers

from transformers import TrainerCallback

from hieno.config import Train
from hieno.errors import TryLater
from hieno.files import read_jsonl, write_atomic
from hieno.reporting import Reporter
from hieno.train import checkpoints, divergence, group, memory

METRICS = "metrics.jsonl"
BEST = "best"  # the weights of the epoch with the lowest held-out loss


class Watch(TrainerCallback):  # type: ignore[misc]
    """Report each step, write its metrics, save by the clock, and stop on a loss that is lost.

    At the end of each of `steps_per_epoch` steps, `answer` is told of it; where the settings want
    the held-out loss each epoch, `measure` returns it and `keep` saves the weights to a folder. Of
    several processes that train together, the leader reports, writes and decides.
    """

    def __init__(
        self,
        settings: Train,
        work: Path,
        reporter: Reporter,
        *,
        steps_per_epoch: int = 0,
        measure: Callable[[], float | None] = lambda: None,
        keep: Callable[[Path], None] = lambda folder: None,
        answer: Callable[[int, float], None] = lambda step, epoch: None,
    ) -> None:
        self.asked_to_stop = False
        self._per_epoch = steps_per_epoch
        self._measures = settings.evaluate == "epoch"
        self._patience = settings.patience
        self._measure = measure
        self._keep = keep
        self._answer = answer
        self._interval = settings.save_minutes * 60
        self._work = work
        self._reporter = reporter
        self._began = self._saved = time.monotonic()
        self._tokens_before: int | None = None
        self._stopped_at: int | None = None
        self._losses = losses(work / METRICS)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" not in logs:
            return
        loss, norm = float(logs["loss"]), float(logs["grad_norm"])
        self._losses.append(loss)
        divergence.refuse(self._losses, norm)
        tokens, now = int(state.num_input_tokens_seen), time.monotonic()
        if self._tokens_before is None:  # the first step of this process warms up
            self._began, self._tokens_before, rate = now, tokens, None
        else:
            rate = round((tokens - self._tokens_before) / (now - self._began), 1)
        row = {
            "step": state.global_step,
            "epoch": state.epoch,
            "loss": loss,
            "learning_rate": logs["learning_rate"],
            "grad_norm": norm,
            "tokens": tokens,
            "tokens_per_second": rate,
            "memory_gb": round(memory.held() / 1e9, 2),
        }
        if group.leads():
            self._write(row)
            text = f"loss {loss:.3f}" + (f", {rate:.0f} tokens/s" if rate else "")
            self._reporter.progress(state.global_step, state.max_steps, "steps", text)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # before a checkpoint is taken: a run that goes on from it knows this loss
        if self._per_epoch and state.global_step % self._per_epoch == 0:
            control.should_training_stop |= self._end_epoch(state.global_step, state.epoch)
        due = group.leads() and time.monotonic() - self._saved >= self._interval
        asked, due = group.any_of(self.asked_to_stop, due)  # all save, and stop, at one step
        if asked and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True
            self._stopped_at = state.global_step
        elif due:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        group.wait()  # each process has written a file of its own
        if group.leads():
            checkpoints.complete(self._work, state.global_step)
        self._saved = time.monotonic()

    def _end_epoch(self, step: int, epoch: float) -> bool:
        """Measure the held-out loss, ask the questions, and tell whether patience has ended."""
        loss = self._measure() if self._measures else None
        self._answer(step, epoch)
        if loss is None:
            return False
        losses = group.by_leader(lambda: self._note(step, epoch, loss))
        if not self._patience:
            return False
        since_best = len(losses) - 1 - losses.index(min(losses))
        if not since_best:
            self._keep_best()
        return since_best >= self._patience

    def _note(self, step: int, epoch: float, loss: float) -> list[float]:
        """Write and report a held-out loss; return all of them so far."""
        before = held_out_losses(self._work / METRICS)
        self._write({"step": step, "epoch": epoch, "test_loss": loss})
        self._reporter.say(f"epoch {epoch:g}: held-out loss {loss:.4f}")
        return list({**before, step: loss}.values())

    def _keep_best(self) -> None:
        partial = self._work / f"{BEST}.partial"
        if group.leads():
            shutil.rmtree(partial, ignore_errors=True)
        self._keep(partial)
        if group.leads():
            shutil.rmtree(self._work / BEST, ignore_errors=True)
            partial.rename(self._work / BEST)

    def _write(self, row: dict[str, Any]) -> None:
        with (self._work / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    @contextmanager
    def until_terminated(self) -> Iterator[None]:
        """Save at the next step's end when SIGTERM comes, as a node that is taken away sends it.

        Raises `TryLater` then: the same command goes on from there.
        """
        before = signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
        if self._stopped_at is not None:
            raise TryLater(
                f"training was asked to stop and saved step {self._stopped_at}",
                hint="type the same command again: it goes on from there",
            )

    def _on_sigterm(self, *_: object) -> None:
        self.asked_to_stop = True


def losses(metrics: Path) -> list[float]:
    """Return the loss of each step so far."""
    return [row["loss"] for row in _rows(metrics) if "loss" in row]


def held_out_losses(metrics: Path) -> dict[int, float]:
    """Return the held-out loss by step, as far as it was measured during training."""
    return {row["step"]: row["test_loss"] for row in _rows(metrics) if "test_loss" in row}


def rewind(metrics: Path, step: int) -> None:
    """Forget the steps after the checkpoint: they are about to be taken again."""
    if metrics.is_file():
        lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        write_atomic(metrics, "".join(kept))


def _rows(metrics: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(metrics)) if metrics.is_file() else []
