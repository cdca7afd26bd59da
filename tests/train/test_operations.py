"""What a run asks for is counted from the model's widths."""

from __future__ import annotations

import pytest

from hieno import machine
from hieno.train.memory import Shape
from hieno.train.operations import count_operations, seconds_here

SHAPE = Shape(layers=2, hidden=8, feed_forward=16, vocabulary=100, query=8, key_value=4, tied=True)
BODY = 2 * (8 * 16 + 8 * 8 + 8 * 32 + 16 * 8)


def count(method: str = "lora", checkpointing: bool = False) -> float:
    return count_operations(
        SHAPE, method=method, checkpointing=checkpointing, tokens=1000, supervised=100
    )


def test_an_adapter_saves_the_gradient_of_the_weights() -> None:
    assert count() == 4 * (BODY * 1000 + 800 * 100)
    assert count("full") == 1.5 * count()
    assert count(checkpointing=True) == 1.5 * count()


def test_seconds_follow_from_the_measured_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", list)
    monkeypatch.setattr(machine, "speed", lambda: machine.Speed("here", 4e9, 1e9))
    assert seconds_here(8e9, dtype="auto") == 2
    assert seconds_here(8e9, dtype="float32") == 8


def test_a_gpu_is_not_judged_by_the_processor_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: [machine.Gpu("H100", 80)])
    assert seconds_here(1e12, dtype="auto") is None
