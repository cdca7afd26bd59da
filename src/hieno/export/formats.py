"""The forms in which a model version can leave the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hieno.errors import UsageError


@dataclass(frozen=True)
class Format:
    """What a form is, the module that writes and opens it, and its weights, the default first."""

    title: str
    module: str
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What one export is to be; the template's own stop token is the first."""

    name: str
    weights: str
    stops: tuple[int, ...]


FORMATS: Mapping[str, Format] = {
    "hf": Format("Hugging Face folder", "hieno.export.hf", ("fp32", "bf16")),
    "gguf": Format("GGUF file", "hieno.export.gguf", ("fp16", "fp32", "bf16", "int8")),
    "onnx": Format("ONNX Runtime GenAI folder", "hieno.export.onnx", ("fp32", "int8", "int4")),
}


def choose_weights(name: str, wanted: str | None) -> str:
    """Return the weights of an export; raises `UsageError` for what that form does not have."""
    if name not in FORMATS:
        raise UsageError(
            f"there is no format {name!r}", hint=f"name one with --to: {', '.join(FORMATS)}"
        )
    offered = FORMATS[name].weights
    if wanted is not None and wanted not in offered:
        raise UsageError(
            f"a {FORMATS[name].title} is not written with {wanted} weights",
            hint=f"name others with --weights: {', '.join(offered)}",
        )
    return wanted or offered[0]
