"""Generate a flow's files, and keep what the user has changed in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from hieno.errors import MissingInput
from hieno.files import digest_file, read_json, write_atomic, write_json

FILES = ("flow.dag.yaml", "chat_node.py", "requirements.txt", "README.md")
# Beside the files, so that a flow that is moved or copied keeps its memory.
GENERATED = ".hieno-generated.json"


@dataclass(frozen=True)
class Scaffold:
    """Files that were written or updated, and changed ones that were left alone."""

    written: list[Path]
    kept: list[Path]


def init(folder: Path, *, name: str) -> Scaffold:
    """Write a chat flow for the model `name`, or bring an earlier one up to date.

    A file that differs from what was generated last belongs to the user and is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remembered = _remembered(folder)
    scaffold = Scaffold([], [])
    for file in FILES:
        path, content = folder / file, _content(file, name)
        wanted = hashlib.sha256(content).hexdigest()
        present = digest_file(path) if path.exists() else None
        if present not in (None, wanted, remembered.get(file)):
            scaffold.kept.append(path)
            continue
        if present != wanted:
            write_atomic(path, content)
            scaffold.written.append(path)
        remembered[file] = wanted
    write_json(folder / GENERATED, remembered)
    return scaffold


def require(folder: Path) -> None:
    """Raise `MissingInput` where there is no flow in a folder."""
    if not (folder / FILES[0]).is_file():
        raise MissingInput(
            f"there is no flow in {folder} (no {FILES[0]})", hint="`hieno flow init` writes one"
        )


def _remembered(folder: Path) -> dict[str, str]:
    path = folder / GENERATED
    return dict(read_json(path)) if path.exists() else {}


def _content(file: str, name: str) -> bytes:
    text = (resources.files("hieno.flow") / "template" / file).read_text(encoding="utf-8")
    if file == "README.md":
        text = text.replace("{name}", name)
    return text.encode()
