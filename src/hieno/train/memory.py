"""How much memory a run takes, and how its steps are divided so that it fits.

Weights, gradients and optimizer states follow from the model's shape. What is kept for the
backward pass (`PER_HIDDEN` and its neighbours) was counted tensor by tensor on the demo model in
float32: 9,500 to 11,600 numbers a layer and token, as chats are 62 to 600 tokens long.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any  # config.json

from hieno import machine
from hieno.config import Train
from hieno.errors import ConfigError
from hieno.files import read_json

SMALLER_PASSES = (4096, 2048, 1024, 512)  # tokens in one pass; the largest that fits is taken
SHARE = 0.85  # of the free memory that a run may plan with
PROCESS = 0.75e9  # bytes of an interpreter with torch and its libraries
# Bytes for each token and layer in bfloat16, per unit of the hidden and the feed-forward width
PER_HIDDEN, PER_FEED_FORWARD = 22.0, 6.0
CHECKPOINT_PER_HIDDEN = 2.0  # with checkpointing only a layer's input is kept
PER_VOCABULARY = 1024 * 10.0  # bytes per entry: a chunk's logits and their gradient
# glibc's mallopt: no block of its own for a large request, nothing given back, one heap that
# grows by 64 MB
KEEPING = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 1 << 26)}


@dataclass(frozen=True)
class Shape:
    """The widths of a model, from its config.json."""

    layers: int
    hidden: int
    feed_forward: int
    vocabulary: int
    query: int
    key_value: int
    tied: bool

    @property
    def linear(self) -> list[tuple[int, int]]:
        """The (inputs, outputs) of one layer's matrices, fused as a Phi has them."""
        return [
            (self.hidden, self.query + 2 * self.key_value),
            (self.query, self.hidden),
            (self.hidden, 2 * self.feed_forward),
            (self.feed_forward, self.hidden),
        ]

    @property
    def parameters(self) -> int:
        body = self.layers * sum(inputs * outputs for inputs, outputs in self.linear)
        return body + self.vocabulary * self.hidden * (1 if self.tied else 2)


@dataclass(frozen=True)
class Need:
    """Bytes at the peak of a run, by what holds them."""

    process: int
    weights: int
    trained: int  # gradients, optimizer states, and an adapter's own weights
    activations: int
    logits: int
    states: int = 0  # what frozen layers make of the chats, where it is kept

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Fit:
    """How a step is divided so that it fits; `changed` says what is not as it was asked for."""

    pass_tokens: int
    checkpointing: bool
    keep_states: bool
    need: Need
    changed: str


def shape_of(model_folder: Path) -> Shape:
    """Read a model's widths."""
    config: dict[str, Any] = read_json(model_folder / "config.json")
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    width = int(config.get("head_dim") or hidden // heads)
    return Shape(
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        feed_forward=int(config.get("intermediate_size") or 4 * hidden),
        vocabulary=int(config["vocab_size"]),
        query=heads * width,
        key_value=int(config.get("num_key_value_heads") or heads) * width,
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def need(
    shape: Shape,
    settings: Train,
    *,
    dtype: str,
    pass_tokens: int,
    checkpointing: bool,
    shards: int = 1,
) -> Need:
    """Return what a run holds at its peak when a pass has `pass_tokens` tokens.

    Of `shards` processes that share a model, each holds a share of what is trained; the weights
    count whole, as each reads them before they are shared out.
    """
    width = 2 if dtype == "bfloat16" else 4
    if settings.method == "full":
        copies = 2 if dtype == "bfloat16" else 0  # autocast's, which live through a pass
        weights, trained = (4 + copies) * shape.parameters, 12 * shape.parameters
    else:
        per_weight = 0.6 if settings.method == "qlora" else float(width)
        weights = int(per_weight * shape.parameters)
        sides = shape.layers * sum(inputs + outputs for inputs, outputs in shape.linear)
        trained = 16 * settings.rank * sides
    layer = PER_HIDDEN * shape.hidden + PER_FEED_FORWARD * shape.feed_forward
    kept = shape.layers * layer
    if checkpointing:  # one layer is computed again at a time
        kept = shape.layers * CHECKPOINT_PER_HIDDEN * shape.hidden + layer
    return Need(
        process=int(PROCESS),
        weights=weights,
        trained=trained // shards,
        activations=int(kept * pass_tokens * width / 2),
        logits=int(PER_VOCABULARY * shape.vocabulary),
    )


def fit(
    shape: Shape,
    settings: Train,
    *,
    dtype: str,
    lengths: Sequence[int],
    free: float,
    shards: int = 1,
) -> Fit:
    """Choose the largest passes that fit into `free` bytes, and checkpointing where none does.

    `lengths` are those of the chats in tokens: a pass holds the longest at least, and no more than
    a step; `shards` is how many processes share the model. The states of frozen layers are kept
    where all else is as it was asked for. Raises `ConfigError` where even the smallest passes are
    too much.
    """
    states = _states(shape, settings, dtype=dtype, tokens=sum(lengths))
    step = sorted(lengths)[-settings.batch_size :]
    wanted = settings.pass_tokens
    sizes = [wanted, *(size for size in SMALLER_PASSES if size < wanted)]
    for checkpointing in dict.fromkeys((settings.checkpointing, True)):
        for size in sizes:
            most = max(min(size, sum(step)), step[-1])
            wants = need(
                shape,
                settings,
                dtype=dtype,
                pass_tokens=most,
                checkpointing=checkpointing,
                shards=shards,
            )
            changes = _changes(settings, size, checkpointing)
            with_states = replace(wants, states=states)
            if states and not changes and with_states.total <= SHARE * free:
                return Fit(size, checkpointing, True, with_states, changes)
            if wants.total <= SHARE * free:
                return Fit(size, checkpointing, False, wants, changes)
    raise ConfigError(
        f"train: this run needs about {wants.total / 1e9:.1f} GB of memory even in the smallest "
        f"passes, and {free / 1e9:.1f} GB are free",
        hint=_smaller(settings),
    )


def _states(shape: Shape, settings: Train, *, dtype: str, tokens: int) -> int:
    """Return the bytes of a vector for each token, where a run would look them up again."""
    looked_up = settings.keep_states and settings.frozen_layers and settings.epochs > 1
    if not looked_up or settings.checkpointing:
        return 0
    return tokens * shape.hidden * (2 if dtype == "bfloat16" else 4)


def keep_freed() -> None:
    """Let this process keep the memory that it frees for what it asks for next, under glibc.

    Every pass frees the hundreds of megabytes that the next one asks for. Given back to the
    system, they come back page by page, cleared.
    """
    try:
        option = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # no glibc: macOS, Windows
        return
    for number, value in KEEPING.values():
        option(number, value)


def peak() -> int:
    """Return the most bytes that this process has held: of the GPU's memory where it uses one."""
    import torch

    on_gpu = torch.cuda.is_available()
    return int(torch.cuda.max_memory_allocated()) if on_gpu else machine.peak_memory()


def held() -> int:
    """Return the bytes that this process holds now, where `peak` counts them."""
    import psutil
    import torch

    on_gpu = torch.cuda.is_available()
    return int(torch.cuda.memory_allocated() if on_gpu else psutil.Process().memory_info().rss)


def _changes(settings: Train, size: int, checkpointing: bool) -> str:
    parts = []
    if size < settings.pass_tokens:
        parts.append(f"passes of {size} tokens instead of {settings.pass_tokens}")
    if checkpointing and not settings.checkpointing:
        parts.append("activations are computed again (train.checkpointing)")
    return "; ".join(parts)


def _smaller(settings: Train) -> str:
    if settings.method == "full":
        return "`--method lora` keeps the base at two bytes a weight and trains an adapter only"
    return "close other programs, lower train.max_length, or take a smaller model"
