"""The model that is trained: the base as it is, or with an adapter on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any  # models are untyped in transformers

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from hieno.config import Train
from hieno.errors import ConfigError


def load(model_folder: Path, settings: Train, *, dtype: str, attention: str = "sdpa") -> Any:
    """Load the base and make it trainable by the method (seeded).

    An adapter's base is kept in the compute dtype. Full fine-tuning keeps float32 weights, as most
    steps at usual rates are smaller than bfloat16 can hold; its products are in the compute dtype.
    Raises `ConfigError` for what the model or the machine does not have.
    """
    torch.manual_seed(settings.seed)
    model = AutoModelForCausalLM.from_pretrained(
        model_folder,
        dtype=torch.float32 if settings.method == "full" else getattr(torch, dtype),
        attn_implementation=attention,
        local_files_only=True,
        trust_remote_code=False,
        **(_quantised(dtype) if settings.method == "qlora" else {}),
    )
    model.config.use_cache = False
    if settings.method == "full":
        return model
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.variant == "rslora",
        use_dora=settings.variant == "dora",
        target_modules=targets(model, settings.targets),
        layers_to_transform=tuned_layers(model, settings.frozen_layers),
    )
    return get_peft_model(model, config)


def targets(model: Any, wanted: str | list[str]) -> list[str]:
    """Return the names of the linear layers to adapt, read from the model itself.

    Recipes for other families name layers that a Phi does not have (it fuses them), and PEFT
    then adapts only what matches: so every wanted name must exist.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    present = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    if wanted == "all":
        return sorted(present)
    missing = sorted(set(wanted) - present)
    if missing:
        raise ConfigError(
            f"train.targets: the model has no layer named {', '.join(missing)}",
            hint=f"it has {', '.join(sorted(present))}",
        )
    return sorted(wanted)


def tuned_layers(model: Any, frozen: int) -> list[int] | None:
    """Return the numbers of the layers that get an adapter; None for all.

    What lies below the lowest adapter needs no backward pass.
    """
    layers = layer_count(model)
    if frozen >= layers:
        raise ConfigError(
            f"train.frozen_layers is {frozen}, and the model has {layers} layers",
            hint=f"choose at most {layers - 1}",
        )
    return list(range(frozen, layers)) if frozen else None


def causal(model: Any) -> Any:
    """Return the plain causal LM inside of whatever wraps it."""
    inner = getattr(model, "module", model)
    return inner.get_base_model() if isinstance(inner, PeftModel) else inner


def layer_count(model: Any) -> int:
    """Return how many layers a causal LM says it has."""
    return int(causal(model).config.get_text_config().num_hidden_layers)


def stack_of(model: Any) -> torch.nn.ModuleList:
    """Return the layers of a causal LM, which are alike and run one after the other.

    It is empty where the model has no list of as many as it says.
    """
    plain = causal(model)
    inside = plain.get_decoder().modules() if hasattr(plain, "get_decoder") else ()
    lists = (module for module in inside if isinstance(module, torch.nn.ModuleList))
    return next((each for each in lists if len(each) == layer_count(plain)), torch.nn.ModuleList())


def untuned(model: Any) -> Any:
    """Return a context in which the model answers as its base; before a full one is trained."""
    return model.disable_adapter() if isinstance(model, PeftModel) else nullcontext()


def last_hidden(model: Any, row: dict[str, Any]) -> Tensor:
    """Return the states (1, tokens, width) that the output head would turn into logits.

    The call goes through every wrapper around the model, as gradients of several processes are
    only exchanged for such calls; the head is stepped over meanwhile.
    """
    plain = causal(model)
    with _replaced(plain, plain.get_output_embeddings(), torch.nn.Identity()):
        return model(**row, use_cache=False).logits  # type: ignore[no-any-return]


def on_device(row: dict[str, Any], model: Any) -> dict[str, Any]:
    """Return a row with its tensors where the model is."""
    device = causal(model).device
    return {n: v.to(device) if isinstance(v, Tensor) else v for n, v in row.items()}


def products(model: Any, dtype: str) -> torch.autocast:
    """Return a context in which matrix products are in a type."""
    device = causal(model).device.type
    return torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == "bfloat16")


@contextmanager
def layers_of(model: Any, part: slice) -> Iterator[torch.nn.ModuleList]:
    """Let a model have only some of its layers; their names outside are as before."""
    stack = stack_of(model)
    some = stack[part]
    with _replaced(causal(model), stack, some):
        yield some


@contextmanager
def _replaced(model: Any, module: torch.nn.Module, other: torch.nn.Module) -> Iterator[None]:
    name = next(name for name, each in model.named_modules() if each is module)
    parent, _, last = name.rpartition(".")
    holder = model.get_submodule(parent)
    setattr(holder, last, other)
    try:
        yield
    finally:
        setattr(holder, last, module)


def _quantised(dtype: str) -> dict[str, Any]:
    if not torch.cuda.is_available():
        raise ConfigError(
            "train.method: qlora needs a CUDA GPU, and torch finds none",
            hint="use lora here: on a processor its base takes two bytes a weight in bfloat16",
        )
    from transformers import BitsAndBytesConfig

    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    return {"quantization_config": four_bits, "device_map": {"": 0}}
