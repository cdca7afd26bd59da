"""Checkpoints that can be trusted: whole, ours, and unchanged since they were written.

The trainer writes a checkpoint file by file, and some of those files are pickles. A checkpoint
counts only once a marker with the digest of every file stands beside it, and only while the
digests hold: one that was cut short, or that somebody else put there, is never loaded.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hieno.files import read_json, tree_digests, write_json

_PREFIX = "checkpoint-"


def complete(work: Path, step: int) -> None:
    """Mark the checkpoint of a step as whole, with its digests."""
    write_json(_marker(work, step), tree_digests(work / f"{_PREFIX}{step}"), private=True)


def latest(work: Path) -> Path | None:
    """Return the newest whole checkpoint; remove every one that is not whole."""
    steps = sorted(step_of(folder) for folder in work.glob(f"{_PREFIX}*") if folder.is_dir())
    for step in reversed(steps):
        folder, marker = work / f"{_PREFIX}{step}", _marker(work, step)
        if marker.is_file() and read_json(marker) == tree_digests(folder):
            return folder
        shutil.rmtree(folder)
        marker.unlink(missing_ok=True)
    return None


def step_of(checkpoint: Path) -> int:
    """Return the step at which a checkpoint was taken."""
    digits = checkpoint.name.removeprefix(_PREFIX)
    return int(digits) if digits.isdigit() else 0


def _marker(work: Path, step: int) -> Path:
    return work / f"whole-{step}.json"
