"""The demo: a complete small project that is copied, not generated."""

from __future__ import annotations

import shutil
from pathlib import Path

from hieno.config import FILE_NAME
from hieno.errors import UsageError
from hieno.project import Project

# What the demo costs beside the machine's own rate of matrix products: measured on two cores.
TRAINED_TOKENS = 87_000  # its two epochs, shared beginnings counted once
FLOPS_PER_TOKEN = (2 + 2 * 18 / 30) * 106e6  # forward, and backward through the adapted layers
# Of the probed rate: rows are short, and much besides the products takes time, the more so where
# the products are quick.
EFFICIENCY = {"bfloat16": 0.25, "float32": 0.4}
ANSWERED_FLOPS = 16e12  # the base's replayed answers, and the evaluation of two models
OTHER_SECONDS = 85.0  # model, conversions, endpoint and flow

SOURCE = Path(__file__).with_name("example")


def demo(folder: Path) -> Path:
    """Copy the demo project into a folder and return it; one that stands there is kept.

    Raises `UsageError` where the folder holds something else.
    """
    folder = folder.resolve()
    if (folder / FILE_NAME).is_file():
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty and holds no {FILE_NAME}",
            hint="name another folder: `hieno demo my-folder`",
        )
    shutil.copytree(
        SOURCE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".hieno")
    )
    return folder


def is_new(project: Project) -> bool:
    """Tell whether the demo has still to be trained."""
    return not any(project.runs.glob("*/manifest.json"))


def seconds() -> float:
    """Estimate how long the whole demo takes on this machine, from its one-second probe."""
    from hieno.machine import speed

    measured = speed()
    rate: float = max(getattr(measured, dtype) * share for dtype, share in EFFICIENCY.items())
    return OTHER_SECONDS + (TRAINED_TOKENS * FLOPS_PER_TOKEN + ANSWERED_FLOPS) / rate
