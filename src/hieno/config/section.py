"""What every section of the configuration is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the tree: it knows all its keys, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
