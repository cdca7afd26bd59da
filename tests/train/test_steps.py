"""Steps are counted as the trainer counts them."""

from __future__ import annotations

import pytest

from hieno.train.steps import Steps, count_steps


@pytest.mark.parametrize(
    ("chats", "batch_size", "epochs", "steps"),
    [
        (8, 8, 3.0, Steps(1, 3)),
        (9, 8, 3.0, Steps(2, 6)),
        (9, 8, 1.2, Steps(2, 3)),
        (1, 8, 0.5, Steps(1, 1)),
    ],
)
def test_a_smaller_last_batch_is_a_step(
    chats: int, batch_size: int, epochs: float, steps: Steps
) -> None:
    assert count_steps(chats, batch_size=batch_size, epochs=epochs) == steps
