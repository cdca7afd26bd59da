"""Named values for a section; a key that is set anywhere else wins over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any  # YAML values before they are validated

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "train": {
            # The tutorial's fine_tune.py, on which everything else is as it is here.
            "tutorial": {
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
        },
        "azure": {
            "cpu": {"cluster.size": "Standard_E16s_v3", "endpoint.size": "Standard_E4s_v3"},
            "gpu": {
                "cluster.size": "Standard_NC24ads_A100_v4",
                "endpoint.size": "Standard_NC24ads_A100_v4",
            },
        },
    }
)


def chosen(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and values of the presets that `values` name."""
    for section, presets in PRESETS.items():
        given = values.get(section)
        if not isinstance(given, dict):
            continue
        named = given.get("preset")
        for key, value in presets.get(named, {}).items() if isinstance(named, str) else ():
            part = key.partition(".")[0]
            if part == key or isinstance(given.get(part, {}), dict):  # else it is a mistake to name
                yield f"{section}.{key}", value
