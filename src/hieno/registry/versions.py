"""The project's model versions: one file each, numbered from 1, never changed.

`champion` is the version that may serve, `challenger` the newest that may not (yet). A file names
its package from the folder in which the registry stands, so a project can be moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any  # lineage is JSON

from hieno.errors import MissingInput
from hieno.files import now, read_json, write_json
from hieno.seal import SEAL, is_intact, sealed


@dataclass(frozen=True)
class ModelVersion:
    """A registered package. `lineage` holds the digests and scores it was registered with."""

    name: str
    version: int
    package: str
    digest: str
    created: str
    lineage: Mapping[str, Any]


def versions(registry: Path) -> list[ModelVersion]:
    """Return every version, oldest first."""
    files = sorted((registry / "versions").glob("*.json"), key=lambda path: int(path.stem))
    return [_read(registry, path) for path in files]


def path_of(registry: Path, version: int) -> Path:
    """Return the file of a version."""
    return registry / "versions" / f"{version}.json"


def is_as_registered(registry: Path, version: int) -> bool:
    """Tell whether a version's file is as it was written."""
    return is_intact(read_json(path_of(registry, version)))


def add(
    registry: Path, *, name: str, package: Path, digest: str, lineage: Mapping[str, Any]
) -> ModelVersion:
    """Register a package under the next number; one that is registered already keeps its own."""
    known = versions(registry)
    for version in known:
        if version.digest == digest and version.lineage == lineage:
            return version
    number = known[-1].version + 1 if known else 1
    made = ModelVersion(name, number, str(package), digest, now(), lineage)
    document = {**asdict(made), "package": _placed(registry, package)}
    write_json(path_of(registry, number), sealed(document))
    return made


def aliases(registry: Path) -> dict[str, int]:
    """Return the version number behind each alias that is set."""
    path = registry / "aliases.json"
    return dict(read_json(path)) if path.is_file() else {}


def set_alias(registry: Path, alias: str, version: int) -> None:
    """Point an alias at a version; a version is never champion and challenger at once."""
    current = {name: number for name, number in aliases(registry).items() if number != version}
    write_json(registry / "aliases.json", {**current, alias: version})


def champion(registry: Path) -> ModelVersion | None:
    """Return the version that may serve, if there is one."""
    number = aliases(registry).get("champion")
    return next((version for version in versions(registry) if version.version == number), None)


def find(registry: Path, name: str) -> ModelVersion:
    """Return a version by its number or alias; raises `MissingInput` where there is none."""
    known = versions(registry)
    number = aliases(registry).get(name) or (int(name) if name.isdecimal() else None)
    for version in known:
        if version.version == number:
            return version
    if not known:
        raise MissingInput(
            "nothing is registered yet", hint="`hieno register` brings the project that far"
        )
    named = [*(str(version.version) for version in known), *aliases(registry)]
    raise MissingInput(f"there is no model version {name!r}", hint=f"known: {', '.join(named)}")


def _read(registry: Path, path: Path) -> ModelVersion:
    document = {name: value for name, value in read_json(path).items() if name != SEAL}
    package = registry.parent / document["package"]  # an absolute path stays as it is
    return ModelVersion(**{**document, "package": str(package)})


def _placed(registry: Path, package: Path) -> str:
    inside = package.is_relative_to(registry.parent)
    return package.relative_to(registry.parent).as_posix() if inside else str(package)
