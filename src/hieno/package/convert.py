"""Convert a model folder for a serving engine, in a side environment with its own pins."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from hieno.errors import HienoError
from hieno.files import published, read_manifest
from hieno.package.layout import ENGINES, engine_folder, weights_folder
from hieno.processes import run_to_end


def choose_engine(wanted: str) -> str:
    """Return the engine that a model is converted for on this machine (or `wanted`)."""
    if wanted != "auto":
        return wanted
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return "openvino" if x86 or sys.platform == "darwin" else "transformers"


def convert_base(root: Path, *, engine: str, weights: str, say: Callable[[str], None]) -> None:
    """Convert a cached base model once; later calls find it there."""
    if engine == "transformers" or engine_folder(root, engine, weights) is not None:
        return
    from filelock import FileLock

    with FileLock(root.with_name(f"{root.name}.lock")):  # the cache is shared by all projects
        if engine_folder(root, engine, weights) is not None:
            return
        say(f"converting the base model for {engine} (once)")
        target = root / ENGINES / f"{engine}-{weights}"
        with published(target, kind="engine", key=f"{engine}-{weights}") as (folder, facts):
            convert(weights_folder(root), folder, engine=engine, weights=weights, say=say)
            manifest = read_manifest(root)
            facts["model"] = manifest.digest if manifest else None


def convert(
    model_folder: Path, target: Path, *, engine: str, weights: str, say: Callable[[str], None]
) -> None:
    """Write a model folder in an engine's own format into an existing, empty folder."""
    from hieno import environments

    if engine != "openvino":
        raise HienoError(
            f"there is nothing to convert for {engine}", hint="set package.engine to auto"
        )
    python = environments.ensure("openvino", say=say)
    command = [
        # isolated: settings for this process's Python are not meant for that one
        *(str(python), "-I", "-X", "utf8", str(python.parent / "optimum-cli")),
        *("export", "openvino", "--model", str(model_folder)),
        *("--task", "text-generation-with-past", "--weight-format", weights),
        str(target),
    ]
    quiet = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    done = run_to_end(command, environment=quiet)
    if done.returncode or not (target / "openvino_model.xml").is_file():
        last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        raise HienoError(
            "the conversion for OpenVINO failed: " + " / ".join(last),
            hint="set package.engine to transformers to serve without conversion",
        )
