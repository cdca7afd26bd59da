"""A folder for ONNX Runtime GenAI, built by its own model builder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from hieno import environments
from hieno.export import copies
from hieno.export.formats import Wanted
from hieno.export.hearing import Heard, Request, hear_apart, run_apart

ENVIRONMENT = "onnx"
SETTINGS = "genai_config.json"


def write(
    model: Path, folder: Path, wanted: Wanted, *, work: Path, say: Callable[[str], None]
) -> None:
    """Build graph, weights, settings and tokenizer into an existing, empty folder."""
    python = environments.ensure(ENVIRONMENT, say=say)
    copy = work / "model"
    copies.lay_out(model, copy)
    config = copies.read(copy / "config.json")
    rope = config.get("rope_parameters") or {}
    if "rope_type" in rope:  # the builder asks for LongRoPE by the name it had in transformers 4
        rope["type"] = rope["rope_type"]
        copies.replace(copy / "config.json", config)
    request = {
        "folder": str(copy),
        "output": str(folder),
        "weights": wanted.weights,
        "work": str(work / "builder"),
    }
    run_apart(python, "build_onnx.py", request, failed="the conversion to ONNX failed")


def hear(folder: Path, request: Request, *, work: Path, say: Callable[[str], None]) -> Heard:
    """Open the folder with ONNX Runtime GenAI and ask it."""
    python = environments.ensure(ENVIRONMENT, say=say)
    return hear_apart(python, "ask_onnx.py", folder, request, work)


def declared(folder: Path, model: Path) -> Mapping[str, frozenset[int]]:
    """Return the stop tokens in genai_config.json."""
    found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["model"]["eos_token_id"]
    return {SETTINGS: frozenset(found if isinstance(found, list) else [found])}


def template_of(folder: Path) -> str | None:
    """Return the chat template of the folder."""
    path = folder / "chat_template.jinja"
    return path.read_text(encoding="utf-8") if path.is_file() else None
