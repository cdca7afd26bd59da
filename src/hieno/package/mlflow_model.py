"""Write a model folder as an MLflow model with a real signature."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

REQUIRED = ("mlflow", "torch", "transformers", "accelerate", "safetensors")


def write(model_folder: Path, target: Path) -> None:
    """Copy a model folder into `target` (empty) as `artifacts/model` of an MLflow model.

    The signature names the parameters with their types and defaults, because Azure's scoring
    script silently drops parameters that a signature does not name.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    from hieno.package import layout
    from hieno.package.pyfunc import DEFAULTS

    types = {"max_new_tokens": DataType.long}
    parameters = [
        ParamSpec(name, types.get(name, DataType.double), default)
        for name, default in DEFAULTS.items()
    ]
    mlflow.pyfunc.save_model(
        path=str(target),
        python_model=str(Path(__file__).with_name("pyfunc.py")),
        artifacts={layout.MODEL.name: str(model_folder)},
        signature=ModelSignature(
            inputs=Schema([ColSpec(DataType.string)]),
            outputs=Schema([ColSpec(DataType.string)]),
            params=ParamSchema(parameters),
        ),
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIRED],
    )
