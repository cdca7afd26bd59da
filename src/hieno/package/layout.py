"""Where things stand in a package, so that nobody else spells its paths."""

from __future__ import annotations

from pathlib import Path

from hieno.errors import MissingInput

MODEL = Path("artifacts") / "model"
ENGINES = Path("engines")
FORMATS = ("fp32", "bf16", "int8", "int4")  # of an engine's weights, from large to small
ADAPTER, RUN_MODEL = "adapter", "model"  # what a run holds: one or the other


def weights_folder(root: Path) -> Path:
    """Return the model folder (config, safetensors, tokenizer) of a package or a plain folder."""
    for candidate in (root / MODEL, root / "model", root):
        if (candidate / "config.json").is_file():
            return candidate
    raise MissingInput(
        f"there is no model in {root} (no config.json)",
        hint="name a package made by `hieno package` or a folder with safetensors weights",
    )


def engine_folder(root: Path, engine: str, weights: str = "auto") -> Path | None:
    """Return the folder converted for an engine, or None where the package has none.

    `auto` is the largest format that is there: a package has one, a base model in the cache one
    for each that some project has asked for.
    """
    for name in FORMATS if weights == "auto" else (weights,):
        folder = root / ENGINES / f"{engine}-{name}"
        if folder.is_dir():
            return folder
    return None


def first_format(wanted: str) -> str:
    """Return the format that is converted to first.

    With `auto` that is fp32: the others are made of it and held to it, and the base is served so.
    """
    return "fp32" if wanted == "auto" else wanted
