"""The published types as they lie on disk, read when they are asked for."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # Any: the types are JSON

_BESIDE = Path(__file__).parents[3] / "shared" / "azure-schemas"


@dataclass(frozen=True)
class Shape:
    """A type among the types of its file, to which it refers by number."""

    types: tuple[dict[str, Any], ...]
    type: Mapping[str, Any]

    def follow(self, reference: Mapping[str, str]) -> Shape:
        """Return the type that a reference points to."""
        return Shape(self.types, self.types[int(reference["$ref"].rsplit("/", 1)[1])])


def published() -> Path | None:
    """Return the folder with the types, or None where there is none."""
    named = os.environ.get("HIENO_AZURE_SCHEMAS")
    folder = (Path(named) if named else _BESIDE) / "bicep-types"
    return folder if folder.is_dir() else None


def resource_shape(type: str, version: str) -> tuple[Shape, str] | None:
    """Return a resource's body and the version that it is of: the nearest that there is."""
    return _find(("resource", type.lower()), version)


def action_shape(type: str, action: str, version: str) -> tuple[Shape, str] | None:
    """Return what `POST .../action` takes and gives, and the version that it is of."""
    return _find(("action", type.lower(), action.lower()), version)


def _find(key: tuple[str, ...], version: str) -> tuple[Shape, str] | None:
    folder = published()
    if folder is None:
        return None
    namespace = folder / key[1].split("/", 1)[0]
    if not namespace.is_dir():
        return None
    names = sorted(path.name for path in namespace.iterdir())
    later = [name for name in names if name >= version.lower()]
    earlier = [name for name in reversed(names) if name < version.lower()]
    for name in (*later, *earlier):
        found = _index(namespace / name).get(key)
        if found is not None:
            return found, name
    return None


@functools.cache
def _index(folder: Path) -> Mapping[tuple[str, ...], Shape]:
    index: dict[tuple[str, ...], Shape] = {}
    for file in folder.glob("*.types.json"):
        types = tuple(json.loads(file.read_text(encoding="utf-8")))
        for type in types:
            if type["$type"] == "ResourceType":
                name = type["name"].split("@")[0].lower()
                index["resource", name] = Shape(types, type).follow(type["body"])
            elif type["$type"] == "ResourceFunctionType":
                key = ("action", type["resourceType"].lower(), type["name"].lower())
                index[key] = Shape(types, type)
    return index
