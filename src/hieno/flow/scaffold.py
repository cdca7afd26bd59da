"""Write a project's files, and keep what the user has changed in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hieno.files import digest_file, read_json, write_atomic, write_json
from hieno.flow import chat_project
from hieno.flow.chat_project import Chat
from hieno.flow.frameworks import PROMPTFLOW, Framework

# Beside the files, so that a flow that is moved or copied keeps its memory.
GENERATED = ".hieno-generated.json"


@dataclass(frozen=True)
class Scaffold:
    """Files that were written or updated, and changed ones that were left alone."""

    written: list[Path]
    kept: list[Path]


def init(folder: Path, *, name: str, framework: Framework = PROMPTFLOW) -> Scaffold:
    """Write a chat project for the model `name`, or bring an earlier one up to date.

    A file that differs from what was generated last belongs to the user and is kept. So is a flow
    whose file has the other spelling, `flow.dag.yml`.
    """
    return write(folder, chat_project.files(Chat(name), framework))


def write(folder: Path, files: Mapping[str, bytes]) -> Scaffold:
    """Write files into a folder; those that are there and were not generated so are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    remembered = _remembered(folder)
    scaffold = Scaffold([], [])
    for file, content in files.items():
        path = _as_spelt(folder / file)
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


def _as_spelt(path: Path) -> Path:
    best, other = PROMPTFLOW.entries
    spelt = path.with_name(other)
    return spelt if path.name == best and spelt.is_file() and not path.exists() else path


def _remembered(folder: Path) -> dict[str, str]:
    path = folder / GENERATED
    return dict(read_json(path)) if path.exists() else {}
