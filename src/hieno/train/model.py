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
    layers = int(model.config.get_text_config().num_hidden_layers)
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


def untuned(model: Any) -> Any:
    """Return a context in which the model answers as its base; before a full one is trained."""
    return model.disable_adapter() if isinstance(model, PeftModel) else nullcontext()


def last_hidden(model: Any, row: dict[str, Any]) -> Tensor:
    """Return the states (1, tokens, width) that the output head would turn into logits.

    The call goes through every wrapper around the model, as gradients of several processes are
    only exchanged for such calls; the head is stepped over meanwhile.
    """
    with _headless(causal(model)):
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
def layers_of(model: Any, part: slice) -> Iterator[None]:
    """Let a model have only some of its layers; their names outside are as before."""
    decoder = causal(model).get_decoder()
    whole = decoder.layers
    decoder.layers = whole[part]
    try:
        yield
    finally:
        decoder.layers = whole


@contextmanager
def _headless(model: Any) -> Iterator[None]:
    head = model.get_output_embeddings()
    name = next(name for name, module in model.named_modules() if module is head)
    parent = model.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], torch.nn.Identity())
    try:
        yield
    finally:
        setattr(parent, name.rpartition(".")[2], head)


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
