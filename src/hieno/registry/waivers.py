"""What people let serve although the gate said no: who, when, and against which reasons."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import Any  # JSON

from hieno.files import digest_json, now, read_json, write_json


def waive(registry: Path, *, package: str, evaluation: str, reasons: Sequence[str]) -> None:
    """Let a package serve in spite of an evaluation (both by digest); the first waiver stays."""
    path = _path(registry, package, evaluation)
    if not path.exists():
        write_json(path, {"by": _user(), "at": now(), "reasons": list(reasons)})


def waiver(registry: Path, *, package: str, evaluation: str) -> dict[str, Any] | None:
    """Return the waiver of a package and an evaluation, if there is one."""
    path = _path(registry, package, evaluation)
    return dict(read_json(path)) if path.is_file() else None


def _path(registry: Path, package: str, evaluation: str) -> Path:
    return registry / "waivers" / f"{digest_json([package, evaluation])[:16]}.json"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "?"
