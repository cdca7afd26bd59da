"""Documents of ours that show a changed byte, and the digest of the code that wrote them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # JSON values have no narrower type that mypy can check

SEAL = "seal"


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON document with the digest of everything else in it.

    It finds what a disk, an editor or a careless script changed. Who changes a file on purpose can
    renew the seal as well: against them, keep the digests somewhere else.
    """
    return {**document, SEAL: _digest(document)}


def is_intact(document: Mapping[str, Any]) -> bool:
    """Tell whether a document is as it was sealed; one without a seal is taken as it is."""
    return SEAL not in document or document[SEAL] == _digest(document)


@functools.cache
def code_digest() -> str:
    """Return one digest of hieno's own source: a version number does not tell two checkouts apart.

    It covers every Python file and template of the package.
    """
    folder = Path(__file__).parent
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".jinja")):
        found.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _digest(document: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in document.items() if name != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
