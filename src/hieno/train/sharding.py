"""One model over several processes: each keeps a share of its weights, gradients and states.

torch gathers a layer's weights while it is computed, and sends every gradient to whoever keeps
that share (FSDP2, `fully_shard`). What is saved is gathered first: checkpoints and weights are
those of a run that is not sharded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any  # models and states are untyped in transformers and torch

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from hieno.config import Train
from hieno.errors import ConfigError, HienoError
from hieno.train.model import causal, layer_count, stack_of

OFF = "set train.sharding to none: every process then holds the whole model"


def refuse(settings: Train, processes: int) -> None:
    """Raise `ConfigError` where a model that is to be sharded would have nobody to share it."""
    if settings.sharding == "full" and processes < 2:
        raise ConfigError(
            "train.sharding is full, and one process alone would keep the whole model",
            hint="set train.processes to 2 or more, or train.sharding to none",
        )


def shard(model: Any) -> None:
    """Divide a model's parameters over all processes, layer by layer; it stays the same object.

    Whatever surrounds the layers (embeddings, the head) is a share of its own, which stays
    gathered from the forward pass to the end of the backward one: the loss multiplies with the
    head outside of the model. Raises `HienoError` where no layers are found, and where a process
    would keep more than its share.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # the states that the missing head would turn into logits are a view, and nobody writes to it
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    plain, stack = causal(model), stack_of(model)
    if not stack:
        raise HienoError(
            f"no list of {layer_count(plain)} layers was found in {type(plain).__name__}", hint=OFF
        )
    mesh = init_device_mesh(plain.device.type, (dist.get_world_size(),))
    for layer in stack:
        fully_shard(layer, mesh=mesh)
    fully_shard(plain, mesh=mesh, reshard_after_forward=False)
    whole = [name for name, weight in model.named_parameters() if not _is_share(weight)]
    if whole:
        raise HienoError(
            f"{len(whole)} parameters were not sharded, {whole[0]} among them", hint=OFF
        )


def gathered(model: Any) -> dict[str, Tensor]:
    """Return what is tuned of a model as whole tensors, the same one for tied weights.

    All processes take part; only the leader's is to be used, as the others keep nothing.
    """
    state = model.state_dict()  # brings every parameter back to its share first
    parameters = dict(model.named_parameters(remove_duplicate=False))
    whole: dict[int, Tensor] = {}
    found = {}
    for name, value in state.items():
        parameter = parameters.get(name)
        if parameter is not None and not parameter.requires_grad:
            continue
        key = id(parameter) if parameter is not None else id(value)
        if key not in whole:
            whole[key] = _whole(value)
        found[name] = whole[key]
    return found


@contextmanager
def whole_states(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let an optimizer's `state_dict` return whole tensors to the leader; all take part."""
    state = optimizer.state_dict()
    held = {
        number: {name: _whole(value) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    handle = optimizer.register_state_dict_post_hook(lambda _, found: {**found, "state": held})
    try:
        yield
    finally:
        handle.remove()


def take_shares(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer take its shares of the whole tensors that it is given to load."""

    def divided(_: Any, state: dict[str, Any]) -> dict[str, Any]:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        return {
            **state,
            "state": {
                number: {name: _share(value, weights[number]) for name, value in values.items()}
                for number, values in state["state"].items()
            },
        }

    optimizer.register_load_state_dict_pre_hook(divided)


def _is_share(weight: Tensor) -> bool:
    return (
        isinstance(weight, DTensor)
        and weight.device_mesh.size() > 1
        and all(placement.is_shard() for placement in weight.placements)
    )


def _whole(value: Any) -> Any:
    if not isinstance(value, DTensor):
        return value
    found = value.full_tensor()
    return found.cpu() if dist.get_rank() == 0 else found.new_empty(0)


def _share(value: Any, weight: Tensor) -> Any:
    if not isinstance(value, Tensor) or value.dim() == 0 or not isinstance(weight, DTensor):
        return value
    value = value.to(weight.device)
    # every process read the same file: nothing needs to be sent
    return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)
