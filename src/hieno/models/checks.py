"""What of a model folder is taken, and what makes a model unfit.

Weights come as safetensors only. Nothing that could run code or reach for another file is taken:
no Python, no pickles, no `auto_map`, no file names in settings.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any  # config.json has no type

from hieno.errors import ConfigError, MissingInput
from hieno.models.weights import INDEX, shards

WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_TAKEN = re.compile(
    r"config\.json|generation_config\.json|tokenizer\.json|tokenizer_config\.json"
    r"|special_tokens_map\.json|added_tokens\.json|chat_template\.jinja"
    r"|model\.safetensors\.index\.json|(LICENSE|LICENCE|NOTICE)(\.txt|\.md)?"
)
_CODE_KEYS = ("auto_map", "custom_pipelines", "attn_implementation", "_attn_implementation")
_LARGEST_TEXT = 64 * 1024 * 1024


def is_taken(name: str) -> bool:
    """Tell whether a file of this name belongs to a model folder of ours."""
    return bool(_TAKEN.fullmatch(name) or WEIGHTS.fullmatch(name))


def accept(folder: Path, *, shown: str) -> list[Path]:
    """Return the files of a model folder that are taken; `shown` names it in errors.

    Raises `MissingInput` for what is not there and `ConfigError` for what cannot be trusted.
    """
    taken = {path.name: path for path in sorted(folder.iterdir()) if is_taken(path.name)}
    for path in taken.values():
        _refuse_outsider(path, folder)
    for name in ("config.json", "tokenizer.json"):
        if name not in taken:
            raise MissingInput(
                f"{shown} has no {name}",
                hint="name a Hugging Face model folder with safetensors and a fast tokenizer",
            )
    weights = [name for name in taken if WEIGHTS.fullmatch(name)]
    if INDEX in taken and "model.safetensors" not in weights:
        missing = [name for name in shards(taken[INDEX]) if name not in weights]
        if missing:
            raise MissingInput(
                f"{shown} has no {missing[0]}, which {INDEX} names", hint="get the model again"
            )
    if not weights:
        raise ConfigError(
            f"{shown} has no safetensors weights{_pickles(folder)}",
            hint="convert it on a machine that trusts it, or choose a model with safetensors",
        )
    return list(taken.values())


def clean_config(path: Path, *, shown: str) -> dict[str, Any]:
    """Return config.json without what names code; refuse what transformers does not know."""
    config = read_settings(path, shown=shown)
    kind = config.get("model_type")
    if not isinstance(kind, str) or not _is_native(kind):
        raise ConfigError(
            f"{shown}: transformers has no model type {kind!r} of its own",
            hint="choose a model that needs no remote code, for example phi-3.5-mini",
        )
    names = config.get("architectures")
    if not isinstance(names, list) or not any(str(name).endswith("ForCausalLM") for name in names):
        raise ConfigError(
            f"{shown} is not a causal language model (architectures: {names!r})",
            hint="choose a text model, for example phi-3.5-mini",
        )
    if "quantization_config" in config:
        raise ConfigError(
            f"{shown} holds quantised weights, which cannot be fine-tuned here",
            hint="choose the model's original weights",
        )
    return _without_code(config)


def clean_tokenizer_config(path: Path, *, shown: str) -> dict[str, Any]:
    """Return tokenizer_config.json as one that reads tokenizer.json and nothing else.

    The chat template is left in: `publish` moves it into a file of its own.
    """
    settings = _without_code(read_settings(path, shown=shown)) if path.is_file() else {}
    kept = {
        name: value
        for name, value in settings.items()
        if not name.endswith(("_file", "_files")) and name not in ("backend", "is_local")
    }
    return {**kept, "tokenizer_class": "PreTrainedTokenizerFast"}


def read_settings(path: Path, *, shown: str) -> dict[str, Any]:
    """Return a JSON object of a model folder; raises `ConfigError` where it is none."""
    if path.stat().st_size > _LARGEST_TEXT:
        raise ConfigError(f"{shown}: {path.name} is too large", hint="get the model again")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{shown}: {path.name} is not a JSON object", hint="get the model again")
    return found


def _refuse_outsider(path: Path, folder: Path) -> None:
    target = path.resolve()
    # A hub cache links its snapshots to blobs beside them; anything farther away is foreign.
    homes = (folder.resolve(), folder.resolve().parent.parent / "blobs")
    if not target.is_file() or target.parent not in homes:
        raise ConfigError(
            f"{path} is not a file of this folder (it leads to {target})",
            hint="put the file itself there",
        )


def _pickles(folder: Path) -> str:
    kinds = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
    found = [path.name for path in sorted(folder.iterdir()) if path.suffix in kinds]
    return f" (only {found[0]}, which can run code when it is opened)" if found else ""


def _is_native(kind: str) -> bool:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,60}", kind):
        return False
    return importlib.util.find_spec(f"transformers.models.{kind.replace('-', '_')}") is not None


def _without_code(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_code(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if not name.startswith(_CODE_KEYS)
    }
