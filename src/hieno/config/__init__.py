"""The whole configuration as one frozen tree, and where each value came from.

A value comes from a flag, else the environment, else `hieno.yaml`, else the named preset of its
section, else its default. The environment variable of a key is `HIENO_` and the key in capitals
with `_` for the dot: `train.epochs` is `HIENO_TRAIN_EPOCHS`. Secrets are never part of this tree.
"""

from hieno.config.azure import Azure
from hieno.config.presets import PRESETS
from hieno.config.resolution import Origin, Resolved, load
from hieno.config.sections import (
    Config,
    Data,
    Endpoint,
    Evaluate,
    Flow,
    Gate,
    Mlflow,
    Package,
    Serve,
    Train,
)
from hieno.config.tree import FILE_NAME, keys, schema

__all__ = [
    "FILE_NAME",
    "PRESETS",
    "Azure",
    "Config",
    "Data",
    "Endpoint",
    "Evaluate",
    "Flow",
    "Gate",
    "Mlflow",
    "Origin",
    "Package",
    "Resolved",
    "Serve",
    "Train",
    "keys",
    "load",
    "schema",
]
