"""The base models in the user's cache: find one, list them, remove one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hieno.errors import BrokenArtifact, MissingInput
from hieno.files import Manifest, digest_json, read_manifest
from hieno.models.presets import PRESETS
from hieno.models.source import Source, recognise
from hieno.project import home

KIND = "model"


@dataclass(frozen=True)
class Listed:
    """A preset or a cached model; `size` is in bytes, `path` and `revision` as far as known."""

    name: str
    state: str
    description: str
    source: str
    revision: str | None
    size: int
    path: str | None


def models_folder() -> Path:
    """Return the folder of all base models of this user."""
    return home() / "models"


def find(model: str, *, revision: str | None = None, folder: Path | None = None) -> Path | None:
    """Return the cached package root of a model, or None; needs no network.

    A relative path is looked for in `folder` (default: the current one).

    Checks that its files are there with their sizes (`hieno.files.verify` reads them again);
    raises `BrokenArtifact` where they are not, `MissingInput` for a name that means nothing.
    """
    return find_source(recognise(model, revision, folder))


def find_source(source: Source) -> Path | None:
    """Return the newest cached package root of a source, or None."""
    wanted = local_state(Path(source.name)) if source.kind == "local" else source.revision
    matching = [
        (manifest.created, root)
        for root, manifest in _cached()
        if (manifest.facts["origin"], manifest.facts["source"]) == (source.kind, source.name)
        and wanted in (None, manifest.facts["revision"], manifest.facts["requested"])
    ]
    if not matching:
        return None
    root = max(matching)[1]
    _check_sizes(root)
    return root


def find_digest(digest: str) -> Path | None:
    """Return the cached package root that was published under a digest, or None."""
    return next((root for root, manifest in _cached() if manifest.digest == digest), None)


def listing() -> list[Listed]:
    """Return the presets, then everything else that is in the cache."""
    rest = list(_cached())
    rows = []
    for preset in PRESETS.values():
        mine = [entry for entry in rest if entry[1].facts["source"] == preset.source]
        rest = [entry for entry in rest if entry not in mine]
        rows += [_row(preset.name, preset.description, *entry) for entry in mine] or [
            Listed(
                preset.name,
                "not here",
                preset.description,
                preset.source,
                preset.revision,
                0,
                None,
            )
        ]
    return rows + [_row(entry[1].facts["source"], "", *entry) for entry in rest]


def remove(model: str, *, folder: Path | None = None) -> list[Path]:
    """Remove every cached revision of a model, and what an interrupted download left."""
    source = recognise(model, None, folder)
    roots = [
        root
        for root, manifest in _cached()
        if (manifest.facts["origin"], manifest.facts["source"]) == (source.kind, source.name)
    ]
    if source.kind == "hub":
        roots += models_folder().glob(f"{source.slug}-*.download")
    if not roots:
        raise MissingInput(
            f"{model} is not in the cache", hint="`hieno models list` shows what is there"
        )
    for root in roots:
        shutil.rmtree(root)
    return roots


def local_state(folder: Path) -> str:
    """Return what changes when a file of a local model folder does (names, sizes, times)."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_file():
            status = path.stat()
            found.append([path.name, status.st_size, status.st_mtime_ns])
    return digest_json(found)


def _cached() -> Iterator[tuple[Path, Manifest]]:
    folder = models_folder()
    for root in sorted(folder.iterdir()) if folder.is_dir() else ():
        if root.name.endswith((".partial", ".download")):
            continue
        manifest = read_manifest(root)
        if manifest is not None and manifest.kind == KIND:
            yield root, manifest


def _row(name: str, description: str, root: Path, manifest: Manifest) -> Listed:
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    return Listed(
        name,
        f"ready, {size / 1e6:,.0f} MB",
        description or f"from a {manifest.facts['origin']} source",
        manifest.facts["source"],
        manifest.facts["revision"],
        size,
        str(root),
    )


def _check_sizes(root: Path) -> None:
    manifest = read_manifest(root)
    sizes = manifest.facts["sizes"] if manifest else {}
    for name, size in sizes.items():
        path = root / name
        if not path.is_file() or path.stat().st_size != size:
            raise BrokenArtifact(
                f"{path} is not what was published (its size differs)",
                hint=f"delete {root}, then type the same command again",
            )
