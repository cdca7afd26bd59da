"""The processes that train together: who this one is, and what they agree on.

Alone, every function here returns what it was given. Who is in the group is told by the variables
that torchrun sets (`RANK`, `WORLD_SIZE`); `hieno.train.launch` sets them on one machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist

from hieno.errors import ConfigError

RENDEZVOUS = "HIENO_RENDEZVOUS"  # a file over which processes of one machine find each other

T = TypeVar("T")


def is_member() -> bool:
    """Tell whether this process was started as one of several."""
    return "RANK" in os.environ


def join() -> None:
    """Meet the other processes, if this one was started as one of several.

    Raises `ConfigError` where the environment asks for more than data parallelism: what it asks
    for would silently be done in another way.
    """
    _refuse_sharding()
    if not is_member() or dist.is_initialized():
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    file = os.environ.get(RENDEZVOUS)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=f"file://{file}" if file else "env://",
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def leave() -> None:
    """Part from the others, at the same time as they."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number among them."""
    return dist.get_rank() if dist.is_initialized() else 0


def leads() -> bool:
    """Tell whether this is the process that writes and reports."""
    return rank() == 0


def wait() -> None:
    """Go on when all are here."""
    if size() > 1:
        dist.barrier()


def by_leader(make: Callable[[], T]) -> T:
    """Return what the leader's `make` returns; the others' is not called."""
    if size() == 1:
        return make()
    made: list[T | None] = [make() if leads() else None]
    dist.broadcast_object_list(made, src=0, device=_device())
    return made[0]  # type: ignore[return-value]  # None only where T has it


def any_of(*flags: bool) -> list[bool]:
    """Return for each flag whether it is set in any of the processes."""
    if size() == 1:
        return list(flags)
    found = torch.tensor([int(flag) for flag in flags], device=_device())
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return [bool(flag) for flag in found.tolist()]


def total(*numbers: float) -> list[float]:
    """Return the sums of numbers over the processes."""
    if size() == 1:
        return list(numbers)
    # exact on processors; not every GPU adds in float64, and all of them in float32
    kind = torch.float32 if torch.cuda.is_available() else torch.float64
    found = torch.tensor(numbers, dtype=kind, device=_device())
    dist.all_reduce(found)
    return [float(number) for number in found.tolist()]


def _device() -> torch.device:
    on_gpu = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def _refuse_sharding() -> None:
    for variable, name in (
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
    ):
        if os.environ.get(variable, "").lower() in ("1", "true", "yes"):
            raise ConfigError(
                f"{variable} asks for {name}, and training would silently copy the whole model to "
                "every process instead",
                hint=f"unset {variable}; train.sharding: full shards a model that does not fit",
            )
