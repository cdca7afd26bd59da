"""Several processes learn what one learns, and none goes on without the others."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from planning import SETTINGS, EndedAt, Silent, planned, rows

from hieno.config import Train
from hieno.errors import ConfigError, HienoError, TryLater
from hieno.files import digest_file
from hieno.train import group, stage
from hieno.train.packing import IGNORED, share
from hieno.train.trainer import step_of


class KilledAt(Silent):
    """Kill one of the processes as `kill -9` would when a step is reported."""

    def __init__(self, step: int) -> None:
        self._step = step

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
        if done == self._step:
            ranks = psutil.Process().children()
            last = next(p for p in ranks if p.environ().get("RANK") == "1")
            last.send_signal(signal.SIGKILL)


def weights(run: Path) -> str:
    return digest_file(run / "adapter" / "adapter_model.safetensors")


def test_two_processes_have_the_losses_of_one_also_after_one_was_killed(
    tiny_model: Path, tmp_path: Path
) -> None:
    alone = planned(tiny_model, tmp_path / "alone")
    stage.run(alone, Silent())
    both = planned(tiny_model, tmp_path / "both", processes=2)
    with pytest.raises(HienoError) as caught:
        stage.run(both, KilledAt(9))
    assert caught.value.message == "process 2 of 2 was ended from outside (signal 9)"
    assert not Path(both.output).exists()
    stage.run(both, Silent())
    one, two = rows(Path(alone.output)), rows(Path(both.output))
    assert [row["step"] for row in two] == list(range(1, 25))
    for name in ("loss", "grad_norm"):
        expected = [row[name] for row in one]
        assert [row[name] for row in two] == pytest.approx(expected, rel=2e-3), name
    assert len({row["learning_rate"] for row in two} - {row["learning_rate"] for row in one}) == 0


@pytest.mark.slow  # six processes are started; a kill and its resumption are in the default suite
def test_what_two_processes_resume_ends_in_the_same_weights(
    tiny_model: Path, tmp_path: Path
) -> None:
    whole = planned(tiny_model, tmp_path / "whole", processes=2)
    stage.run(whole, Silent())
    killed = planned(tiny_model, tmp_path / "killed", processes=2)
    with pytest.raises(HienoError):
        stage.run(killed, KilledAt(7))
    with pytest.raises(TryLater) as caught:
        stage.run(killed, EndedAt(9, signal.SIGTERM))  # early: the steps go on until it is heard
    assert caught.value.message.startswith("training was asked to stop and saved step ")
    stage.run(killed, Silent())
    assert weights(Path(killed.output)) == weights(Path(whole.output))
    ends = [rows(Path(plan.output))[-1] for plan in (killed, whole)]
    assert ends[0]["tokens"] == ends[1]["tokens"]


def test_a_step_is_shared_by_tokens_and_nobody_is_left_out() -> None:
    chats = [{"input_ids": list(range(n)), "labels": list(range(n))} for n in (9, 30, 12, 11)]
    shares = [share(chats, rank=rank, of=2) for rank in (0, 1)]
    assert [[len(chat["input_ids"]) for chat in some] for some in shares] == [[30], [12, 11, 9]]
    [nothing] = share(chats[:1], rank=1, of=2)
    assert set(nothing["labels"]) == {IGNORED}


def test_what_is_counted_of_a_step_is_the_whole_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from hieno.train.kernels import Kernels

    chats = [{"input_ids": list(range(n)), "labels": list(range(n))} for n in (9, 30, 12)]
    monkeypatch.setattr(group, "size", lambda: 2)
    steps = []
    for rank in (0, 1):
        monkeypatch.setattr(group, "rank", lambda rank=rank: rank)
        steps.append(step_of(chats, kernels=Kernels("sdpa"), most=4096))
    assert [int((step["labels"] != IGNORED).sum()) for step in steps] == [48, 48]
    assert sum(step["input_ids"].numel() for step in steps) == 51


def test_more_processes_than_chats_in_a_step_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        stage.run(planned(tiny_model, tmp_path, processes=8), Silent())
    assert caught.value.message == (
        "train.processes: 8 processes cannot share the 5 chats of a step"
    )
    assert caught.value.hint == "raise train.batch_size to 8 or more, or lower train.processes"


@pytest.mark.parametrize(
    ("variable", "name"),
    [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")],
)
def test_sharding_that_would_silently_be_copying_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, name: str
) -> None:
    monkeypatch.setenv(variable, "true")
    with pytest.raises(ConfigError) as caught:
        group.join()
    assert caught.value.message == (
        f"{variable} asks for {name}, and training would silently copy the whole model to every "
        "process instead"
    )


def test_a_process_alone_agrees_with_itself() -> None:
    assert Train.model_validate(SETTINGS).processes == 1
    assert (group.size(), group.rank(), group.leads()) == (1, 0, True)
    assert group.any_of(True, False) == [True, False]
    assert group.total(1.5, 2.0) == [1.5, 2.0]
    assert group.by_leader(lambda: "made") == "made"
