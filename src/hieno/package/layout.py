"""Where things stand in a package, so that nobody else spells its paths."""

from __future__ import annotations

from pathlib import Path

from hieno.errors import MissingInput

MODEL = Path("artifacts") / "model"
ENGINES = Path("engines")
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


def engine_folder(root: Path, engine: str, weights: str = "fp32") -> Path | None:
    """Return the folder converted for an engine, or None where the package has none."""
    folder = root / ENGINES / f"{engine}-{weights}"
    return folder if folder.is_dir() else None
