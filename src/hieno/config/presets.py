"""Named values for a section; a key that is set anywhere else wins over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any  # YAML values before they are validated

# The tutorial's fine_tune.py, on which everything else is as it is here.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "tutorial": MappingProxyType(
            {
                "method": "full",
                "learning_rate": 5e-6,
                "scheduler": "cosine",
                "warmup": 0.2,
                "epochs": 3,
                "batch_size": 4,
                "max_length": 2048,
                "seed": 0,
                "evaluate": "epoch",
            }
        )
    }
)


def chosen(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and values of the presets that `values` name."""
    train = values.get("train")
    named = train.get("preset") if isinstance(train, dict) else None
    for key, value in PRESETS.get(named, {}).items() if isinstance(named, str) else ():
        yield f"train.{key}", value
