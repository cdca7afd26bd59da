"""Files that are either whole or not there: atomic writes, published folders, digests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any  # JSON values have no narrower type that mypy can check

from hieno import __version__
from hieno.errors import BrokenArtifact, MissingInput, disk_full_is_named
from hieno.seal import code_digest, is_intact, sealed

MANIFEST = "manifest.json"
ELSEWHERE = ".elsewhere.json"  # beside a published folder of which some files lie elsewhere


@dataclass(frozen=True)
class Manifest:
    """What a published folder holds; `digest` covers every file, `facts` is its maker's.

    `origin` is what it was made of and from which files, `code` the digest of hieno's own source
    then. `intact` tells whether the manifest itself is as it was written.
    """

    kind: str
    key: str
    digest: str
    created: str
    files: Mapping[str, str]
    facts: Mapping[str, Any]
    hieno: str = ""
    code: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    intact: bool = True


@contextmanager
def published(
    folder: Path,
    *,
    kind: str,
    key: str,
    origin: Mapping[str, Any] | None = None,
    beside: Collection[str] = (),
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Fill a folder so that it appears whole or not at all.

    Yields a partial folder to write into and a dict for facts. On success the manifest (the
    completion marker, with a SHA-256 of every file) is written, everything is synced, and the
    folder is renamed into place; an earlier folder of that name is replaced. On an error the
    partial folder is removed. Files named in `beside` show what was made to people and are no part
    of it: they have digests, and the folder's one does not cover them.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    facts: dict[str, Any] = {}
    with disk_full_is_named(folder):
        try:
            partial.mkdir(parents=True)
            yield partial, facts
            _write_manifest(
                partial, kind=kind, key=key, facts=facts, origin=origin or {}, beside=beside
            )
            sync_tree(partial)
            replace_folder(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def read_manifest(folder: Path) -> Manifest | None:
    """Return what was published at `folder`, or None where nothing whole stands there."""
    try:
        raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    needed = ("kind", "key", "digest", "created", "files", "facts")
    if not isinstance(raw, dict) or any(name not in raw for name in needed):
        return None
    known = {
        name: raw[name] for name in (*needed, "hieno", "code", "origin", "beside") if name in raw
    }
    return Manifest(**known, intact=is_intact(raw))


def verify(folder: Path, *, whole: bool = True) -> Manifest:
    """Read every published file again; raise `BrokenArtifact` at the first difference.

    Files that were left elsewhere count as missing where the folder must be `whole`.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise BrokenArtifact(f"{folder} is not complete", hint="run `hieno up` to make it again")
    if whole:
        require_here(folder)
    for path in changed_files(folder, manifest):
        raise BrokenArtifact(
            f"{path} is not what was published (digest differs)",
            hint=f"delete {folder} and run `hieno up` to make it again",
        )
    return manifest


def changed_files(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """Yield every published file that is not as it was published, or gone; first the manifest."""
    if not manifest.intact or digest_files(manifest.files) != manifest.digest:
        yield folder / MANIFEST
    left = elsewhere(folder)
    for name, expected in {**manifest.files, **manifest.beside}.items():
        path = folder / name
        if left and name in left.names and not path.exists():
            continue
        if not path.is_file() or digest_file(path) != expected:
            yield path


def added_files(folder: Path, manifest: Manifest) -> list[Path]:
    """Return the files in a published folder that were not published with it.

    A folder within that was published on its own is another's business.
    """
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not (path / MANIFEST).is_file():
            inner = f"{path.name}/"
            names = {
                name.removeprefix(inner): digest
                for name, digest in {**manifest.files, **manifest.beside}.items()
                if name.startswith(inner)
            }
            found += added_files(path, replace(manifest, files=names, beside={}))
        elif path.is_file() and path.name not in {*manifest.files, *manifest.beside, MANIFEST}:
            found.append(path)
    return found


@dataclass(frozen=True)
class Elsewhere:
    """Files of a published folder that are not here: the large ones of a job's result."""

    place: str
    names: tuple[str, ...]


def elsewhere(folder: Path) -> Elsewhere | None:
    """Return what of a published folder lies elsewhere, as far as it has not been fetched."""
    path = folder.with_name(folder.name + ELSEWHERE)
    if not path.is_file():
        return None
    raw = read_json(path)
    names = tuple(name for name in raw["names"] if not (folder / name).exists())
    return Elsewhere(raw["place"], names) if names else None


def require_here(folder: Path) -> None:
    """Raise `MissingInput` where files of a published folder lie elsewhere."""
    if left := elsewhere(folder):
        raise MissingInput(
            f"the weights of {folder} are at {left.place}",
            hint="`hieno models pull champion` fetches those of a registered version; delete the"
            " folder to make it here",
        )


def leave_elsewhere(folder: Path, place: str, names: Collection[str]) -> None:
    """Write down which files of a folder, that is about to appear, lie at `place`."""
    path = folder.with_name(folder.name + ELSEWHERE)
    write_json(path, {"place": place, "names": sorted(names)})


def write_atomic(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Replace a file in one step; `private` makes it readable by its owner alone from the start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with disk_full_is_named(path):
        try:
            mode = 0o600 if private else 0o666
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write JSON for people and programs, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    write_atomic(path, text, private=private)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of ours; `BrokenArtifact` if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BrokenArtifact(
            f"{path} is not valid JSON: {error}", hint=f"delete {path} and run `hieno up`"
        ) from error


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file that we wrote."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_files(files: Mapping[str, str]) -> str:
    """Return one digest for a set of named files, given each one's own digest."""
    return digest_json(sorted(files.items()))


def tree_digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder, by its relative POSIX path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): digest_file(path)
        for path in paths
        if path != folder / MANIFEST
    }


def replace_folder(new: Path, old: Path) -> None:
    """Put folder `new` at the place of `old`, which may exist."""
    retired = old.with_name(old.name + ".old.partial")
    shutil.rmtree(retired, ignore_errors=True)
    if old.exists():
        os.replace(old, retired)
    os.replace(new, old)
    _sync_directory(old.parent)
    shutil.rmtree(retired, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Ask the operating system to put every file below a folder on the disk."""
    # Only Windows wants a writable handle; elsewhere a read-only file is no obstacle.
    mode = "rb+" if os.name == "nt" else "rb"
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            _sync_directory(path)
        elif path.is_file():
            with path.open(mode) as file:
                os.fsync(file.fileno())


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_manifest(
    folder: Path,
    *,
    kind: str,
    key: str,
    facts: Mapping[str, Any],
    origin: Mapping[str, Any],
    beside: Collection[str],
) -> None:
    found = tree_digests(folder)
    files = {name: digest for name, digest in found.items() if name not in beside}
    document = {
        "kind": kind,
        "key": key,
        "digest": digest_files(files),
        "created": now(),
        "hieno": __version__,
        "code": code_digest(),
        "origin": dict(origin),
        "files": files,
        "beside": {name: digest for name, digest in found.items() if name in beside},
        "facts": dict(facts),
    }
    # as it will be read: what has no JSON of its own would have another digest then
    write_json(folder / MANIFEST, sealed(json.loads(json.dumps(document))))


def _sync_directory(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle to a directory that can be synced
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
