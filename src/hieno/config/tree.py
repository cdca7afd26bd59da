"""Every key of the tree by its dotted name, and the tree's JSON schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any  # pydantic's fields and schemas

from pydantic import BaseModel

from hieno.config.sections import Config

FILE_NAME = "hieno.yaml"


def keys() -> dict[str, Any]:
    """Return every dotted key of the tree with its pydantic field."""
    return dict(_leaves(Config))


def schema() -> dict[str, Any]:
    """Return the JSON schema of `hieno.yaml`, for editors."""
    made = Config.model_json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = FILE_NAME
    return made


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field
