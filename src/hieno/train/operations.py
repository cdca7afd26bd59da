"""How many floating-point operations a run asks for, and about how long they take here.

A rough figure that costs nothing: `hieno train --plan` times real steps.
"""

from __future__ import annotations

from hieno import machine
from hieno.train.memory import Shape


def count_operations(
    shape: Shape, *, method: str, checkpointing: bool, tokens: int, supervised: int
) -> float:
    """Return the operations of the matrix products over so many tokens.

    A product takes two for each weight and token, its gradient by the input two more, that by the
    weights again where these are trained. Logits are computed for supervised tokens alone.
    """
    times = 2 + (method == "full") + checkpointing
    head = shape.vocabulary * shape.hidden
    body = shape.parameters - head * (1 if shape.tied else 2)
    return 2.0 * times * (body * tokens + head * supervised)


def seconds_here(operations: float, *, dtype: str) -> float | None:
    """Return about how long this machine takes, by its measured rate of matrix products.

    None with a GPU: only the processor's rate is measured.
    """
    if machine.gpus():
        return None
    speed = machine.speed()
    rates = {"bfloat16": speed.bfloat16, "float32": speed.float32}
    return operations / rates[speed.dtype if dtype == "auto" else dtype]
