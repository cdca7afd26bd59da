"""What is seen of a run while it goes on, and what stops it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from planning import Silent, planned, rows

from hieno.errors import HienoError
from hieno.files import digest_file
from hieno.train import divergence, stage

HINT = "lower train.learning_rate, for example to a third, and try again"


class Told(Silent):
    """Remember what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_held_out_questions_are_answered_each_epoch_and_training_is_not_changed_by_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = {"dropout": 0.1, "rank": 16, "alpha": 32}
    plain = planned(tiny_model, tmp_path / "plain", **settings)
    asked = planned(tiny_model, tmp_path / "asked", samples=2, **settings)
    told = Told()
    stage.run(plain, Silent())
    stage.run(asked, told)
    found = rows(Path(asked.output), "samples.jsonl")
    assert [(row["step"], row["epoch"]) for row in found] == [
        (step, step / 8) for step in (8, 16, 24) for _ in range(2)
    ]
    assert {row["question"].strip() for row in found} == {
        "What is the captain?",
        "What is the colour?",
    }
    assert all(row["answer"].startswith("It is ") for row in found[-2:])  # as it was taught
    assert f"epoch 3: {found[-1]['question']} -> {found[-1]['answer']}" in told.lines
    adapters = [Path(plan.output) / "adapter" for plan in (plain, asked)]
    one, two = (digest_file(folder / "adapter_model.safetensors") for folder in adapters)
    assert one == two


def test_a_run_that_diverges_is_stopped_with_its_losses(tiny_model: Path, tmp_path: Path) -> None:
    wild = planned(tiny_model, tmp_path, method="full", learning_rate=1.0, warmup=0.5)
    with pytest.raises(HienoError) as caught:
        stage.run(wild, Silent())
    assert caught.value.message.startswith("training diverged: the mean loss of the last 10 steps")
    assert caught.value.hint == HINT
    assert not Path(wild.output).exists()


def test_what_counts_as_diverged() -> None:
    divergence.refuse([3.0] * 10 + [9.0] * 9, 1.0)  # too early to tell
    divergence.refuse([0.2] * 10 + [1.1] * 10, 1.0)  # small losses may well double
    divergence.refuse([3.0] * 10 + [4.4] * 10, 1.0)
    with pytest.raises(HienoError) as caught:
        divergence.refuse([3.0] * 10 + [1.0] * 5 + [4.6] * 10, 1.0)
    assert caught.value.message == (
        "training diverged: the mean loss of the last 10 steps is 4.60 at step 25, and it was "
        "3.00 in the first 10"
    )


@pytest.mark.parametrize(
    ("loss", "norm", "message"),
    [
        (math.nan, 1.0, "the loss became nan at step 2"),
        (math.inf, 1.0, "the loss became inf at step 2"),
        (2.0, math.nan, "the gradient's norm became nan at step 2"),
    ],
)
def test_what_is_no_number_any_more_stops_at_once(loss: float, norm: float, message: str) -> None:
    with pytest.raises(HienoError) as caught:
        divergence.refuse([3.0, loss], norm)
    assert (caught.value.message, caught.value.hint) == (message, HINT)
