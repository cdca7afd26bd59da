"""The packages that an image installs, in a real virtual environment, made once per user.

Only what a Dockerfile installs from a file of requirements; the platform and the Python are this
machine's. What cannot be installed fails the build, as it would on Azure.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock
from uv import find_uv_bin

from emulator.ml.dockerfile import CannotBuild
from hieno.environments import uv_environment
from hieno.project import home

_WHOLE = "complete.txt"


def ensure(requirements: Sequence[Path], machine: Mapping[str, str]) -> Path:
    """Return the Python that has what files of requirements name. Raises `CannotBuild`.

    `machine` are the variables of this machine, which lead to its package index.
    """
    text = "\n".join(path.read_text(encoding="utf-8") for path in requirements)
    seed = f"{text}\n{sys.version_info[:2]} {sys.platform} {platform.machine()}"
    place = home() / "emulator" / f"image-{hashlib.sha256(seed.encode()).hexdigest()[:12]}"
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(place.name + ".lock")):
        if not (place / _WHOLE).is_file():
            _make(place, python, requirements, uv_environment(machine))
    return python


def _make(
    place: Path, python: Path, requirements: Sequence[Path], environment: Mapping[str, str]
) -> None:
    shutil.rmtree(place, ignore_errors=True)
    files = [word for path in requirements for word in ("--requirement", str(path))]
    for words in (
        ["venv", "--no-project", "--python", sys.executable, str(place)],
        ["pip", "install", "--python", str(python), *files],
    ):
        done = subprocess.run(
            [find_uv_bin(), *words, "--no-progress", "--color", "never"],
            cwd=place.parent,
            env=dict(environment),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            raise CannotBuild(done.stderr.strip()[-1000:])
    (place / _WHOLE).write_text("", encoding="utf-8")
