"""What serving must know of a model before a single weight is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # config.json and the tokenizer are transformers' own

from hieno.config import Serve
from hieno.errors import BrokenArtifact, ConfigError
from hieno.package.layout import weights_folder
from hieno.templates import load_tokenizer, stop_ids

_LEAST_CONTEXT = 16
_BYTES_OF_A_CACHED_NUMBER = 2


@dataclass(frozen=True)
class Model:
    """A model folder with its tokenizer; `context` counts prompt and answer together.

    `cache_tokens` is how many tokens of 16-bit keys and values fit the configured KV cache.
    """

    folder: Path
    tokenizer: Any
    stop_ids: frozenset[int]
    context: int
    cache_tokens: int


def read_model(root: Path, settings: Serve) -> Model:
    """Read tokenizer, stop tokens and context length of a package or model folder.

    A LongRoPE model (Phi-3.5, Phi-4-mini) is served up to the length it was first trained with:
    beyond it the rotation of every earlier token changes, so cached prefixes and neighbours in
    a batch would no longer be the ones that the model computes alone.
    """
    folder = weights_folder(root)
    config = _read_config(folder)
    cache_tokens = int(settings.cache_gb * 1e9) // _bytes_per_token(config)
    context = min(_context(config), cache_tokens)
    if context < _LEAST_CONTEXT:
        raise ConfigError(
            f"serve.cache_gb: {settings.cache_gb} GB hold only {cache_tokens} tokens of {folder}",
            hint="give the KV cache more memory with serve.cache_gb in hieno.yaml",
        )
    return Model(folder, load_tokenizer(folder), stop_ids(folder), context, cache_tokens)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BrokenArtifact(
            f"{path} is not valid JSON: {error}", hint="package the model again"
        ) from error
    return config


def _context(config: dict[str, Any]) -> int:
    longest = int(config.get("max_position_embeddings", 2048))
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type")) not in ("longrope", "su", "yarn", "dynamic"):
        return longest
    first = rope.get("original_max_position_embeddings")
    return min(longest, int(first or config.get("original_max_position_embeddings") or longest))


def _bytes_per_token(config: dict[str, Any]) -> int:
    heads = int(config.get("num_attention_heads") or 1)
    width = int(config.get("head_dim") or int(config.get("hidden_size") or heads) // heads)
    layers = int(config.get("num_hidden_layers") or 1)
    keys_and_values = 2 * int(config.get("num_key_value_heads") or heads) * width
    return max(1, layers * keys_and_values * _BYTES_OF_A_CACHED_NUMBER)
