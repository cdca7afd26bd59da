"""A loss that is lost: no number any more, or far above where it began."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hieno.errors import HienoError

WINDOW = 10  # steps whose mean loss is compared
RISE = 1.5  # times the mean of the first steps that the last ones may have
LEAST = 1.0  # nats above it that count in any case: small losses may well double

HINT = "lower train.learning_rate, for example to a third, and try again"


def refuse(losses: Sequence[float], gradient_norm: float) -> None:
    """Raise `HienoError` where training has broken the model, with what shows it.

    `losses` are those of all steps so far, `gradient_norm` is the last step's.
    """
    step = len(losses)
    if not math.isfinite(losses[-1]):
        raise HienoError(f"the loss became {losses[-1]} at step {step}", hint=HINT)
    if not math.isfinite(gradient_norm):
        raise HienoError(f"the gradient's norm became {gradient_norm} at step {step}", hint=HINT)
    if step < 2 * WINDOW:
        return
    first, last = (sum(some) / WINDOW for some in (losses[:WINDOW], losses[-WINDOW:]))
    if last > max(RISE * first, first + LEAST):
        raise HienoError(
            f"training diverged: the mean loss of the last {WINDOW} steps is {last:.2f} at step "
            f"{step}, and it was {first:.2f} in the first {WINDOW}",
            hint=HINT,
        )
