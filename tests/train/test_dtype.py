"""In bfloat16 every product with a weight is bfloat16, the adapter's too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import ROWS, SETTINGS
from torch.utils._python_dispatch import TorchDispatchMode

from hieno.train import kernels
from hieno.train.model import load
from hieno.train.trainer import trainer_of


class Products(TorchDispatchMode):
    """Collect the types of everything that is multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
            if min(min(tensor.shape) for tensor in tensors) > 1:
                self.dtypes |= {tensor.dtype for tensor in tensors}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_matrix_products_are_of_the_chosen_type(
    tiny_model: Path, tmp_path: Path, dtype: str, method: str
) -> None:
    settings = SETTINGS.model_copy(update={"method": method})
    chosen = kernels.wanted(settings)
    model = load(tiny_model, settings, dtype=dtype, attention=chosen.attention)
    trainer = trainer_of(model, ROWS, settings, chosen, dtype=dtype, work=tmp_path)
    step = trainer.data_collator(ROWS[:4])
    with Products() as seen:
        trainer.training_step(trainer.model, step, 8)
    assert seen.dtypes == {getattr(torch, dtype)}
