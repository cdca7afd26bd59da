"""Where a container's model is when nobody names it: mounted by a person, or by Azure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hieno.errors import MissingInput, UsageError
from hieno.package.layout import weights_folder

MOUNT = Path("/model")
# Azure mounts a registered model somewhere below the folder that this names.
AZURE = "AZUREML_MODEL_DIR"
_DEPTH = 3  # name, version, folder


def find_model(environment: Mapping[str, str] = os.environ, *, mount: Path = MOUNT) -> Path:
    """Return the one model below the mounted folder.

    Raises `MissingInput` where there is none and `UsageError` where there are several.
    """
    place = Path(environment[AZURE]) if environment.get(AZURE) else mount
    level = [place]
    for _ in range(_DEPTH + 1):
        found = [folder for folder in level if _is_model(folder)]
        if len(found) > 1:
            names = ", ".join(str(folder) for folder in sorted(found))
            raise UsageError(f"there are several models: {names}", hint="name one of them")
        if found:
            return found[0]
        level = [below for folder in level for below in _folders(folder)]
    raise MissingInput(
        f"there is no model in {place}",
        hint=f"name a package or a model folder, or mount one at {mount}",
    )


def _is_model(folder: Path) -> bool:
    try:
        weights_folder(folder)
    except MissingInput:
        return False
    return True


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(below for below in folder.iterdir() if below.is_dir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
