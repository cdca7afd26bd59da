"""The chain behind a model version: each published folder, and whether it is what it was.

    version -> package -> run -> dataset -> your files
               report     |          \\-> base
                          code, config

Every link names the next one by its digest, so one changed byte breaks it where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # origins are JSON

from hieno import models
from hieno.files import (
    Manifest,
    added_files,
    changed_files,
    digest_file,
    digest_json,
    read_manifest,
)
from hieno.project import Project
from hieno.registry.versions import ModelVersion


@dataclass(frozen=True)
class Folder:
    """A published folder of the chain; `digest` is the one that the version was registered with.

    `manifest` is None where the folder is gone.
    """

    role: str
    path: Path | None
    digest: str
    manifest: Manifest | None

    @property
    def made_of(self) -> Mapping[str, Any]:
        """What its key is the digest of; empty where nothing says so."""
        return dict(self.manifest.origin.get("made_of", {})) if self.manifest else {}


@dataclass(frozen=True)
class Source:
    """A file of the user's that a stage read, with the digest that it had."""

    role: str
    shown: str
    path: Path
    digest: str


def folders(project: Project, version: ModelVersion) -> dict[str, Folder]:
    """Return the folders that a version was made from, by role."""
    lineage = version.lineage
    places = {
        "package": Path(version.package),
        "evaluation": project.evaluations / lineage["evaluation"]["key"][:12],
        "run": project.runs / lineage["run"]["key"][:12],
        "dataset": _with_digest(project.datasets, lineage["dataset"]["digest"]),
        "base": models.find_digest(lineage["base"]["digest"]),
    }
    return {
        role: Folder(role, path, lineage[role]["digest"], read_manifest(path) if path else None)
        for role, path in places.items()
    }


def sources(project: Project, folder: Folder) -> list[Source]:
    """Return the user's files that were read for a folder."""
    if folder.manifest is None:
        return []
    digests = folder.made_of.get("files", {})
    read = folder.manifest.origin.get("read", {})
    return [
        Source(role, shown, project.root / shown, digests[role]) for role, shown in read.items()
    ]


def broken_folder(folder: Folder, chain: Mapping[str, Folder]) -> Iterator[str]:
    """Read a folder again and yield everything in which it is not what was registered."""
    if folder.path is None or folder.manifest is None:
        yield f"the {folder.role} with digest {folder.digest[:12]} is not here"
        return
    for path in changed_files(folder.path, folder.manifest):
        yield f"{path} is not what was published"
    for path in added_files(folder.path, folder.manifest):
        yield f"{path} was added afterwards"
    if folder.manifest.digest != folder.digest:
        yield f"{folder.path} is not the {folder.role} that was registered"
    made_of = folder.made_of
    if made_of and digest_json(made_of) != folder.manifest.key:
        yield f"{folder.path} has a key that its inputs and settings do not have"
    for role, digest in made_of.get("inputs", {}).items():
        if role in chain and chain[role].digest != digest:
            yield f"{folder.path} was made from another {role}"


def broken_source(source: Source) -> Iterator[str]:
    """Read a file of the user's again and yield in what it is not the one that was read."""
    if not source.path.is_file():
        yield f"{source.path} is not here"
    elif digest_file(source.path) != source.digest:
        yield f"{source.path} is not what was read"


def _with_digest(place: Path, digest: str) -> Path | None:
    for folder in sorted(place.glob("*/")):
        manifest = None if "." in folder.name else read_manifest(folder)
        if manifest and manifest.digest == digest:
            return folder
    return None
