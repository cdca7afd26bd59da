"""A model folder laid out anew for a converter, without a second copy of its weights."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any  # settings have no type

from hieno.files import write_json


def lay_out(model: Path, copy: Path) -> None:
    """Give every file of a model folder a second name in a new folder, or copy it."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for path in model.iterdir():
        try:
            os.link(path, copy / path.name)
        except OSError:  # another disk, or none that gives a file two names
            shutil.copyfile(path, copy / path.name)


def read(path: Path) -> dict[str, Any]:
    """Return a JSON object of a model folder."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def replace(path: Path, settings: dict[str, Any]) -> None:
    """Write other settings in a laid-out folder; the model's own file stays as it is."""
    path.unlink()  # its second name, not the file itself
    write_json(path, settings)
