"""Which engine serves a package on this machine, and opening it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import util
from pathlib import Path

from hieno.config import Serve
from hieno.environments.gpu import gpu_of_vllm
from hieno.errors import MissingInput, UsageError
from hieno.package.layout import engine_folder
from hieno.serve.engines import Engine
from hieno.serve.model import Model, read_model

ENGINES = ("openvino", "transformers", "vllm")


@dataclass(frozen=True)
class Choice:
    """The engine that will serve a package, and why that one."""

    name: str
    reason: str
    folder: Path | None = None


def choose_engine(root: Path, name: str = "auto", weights: str = "auto") -> Choice:
    """Choose vLLM where a GPU and its environment are, else OpenVINO where the package has it.

    Raises `UsageError` for an unknown engine and `MissingInput` for one that cannot run here.
    """
    if name not in ("auto", *ENGINES):
        raise UsageError(
            f"there is no engine '{name}'", hint=f"engines are auto, {', '.join(ENGINES)}"
        )
    if name == "transformers":
        return Choice("transformers", "it was asked for")
    if name == "vllm":
        return Choice("vllm", _checked_vllm())
    if name == "auto" and (gpu := gpu_of_vllm()):
        return Choice("vllm", f"this machine has a GPU ({gpu})")
    folder = engine_folder(root, "openvino", weights)
    installed = util.find_spec("openvino_genai") is not None
    if folder is not None and installed:
        reason = f"the package has {folder.name}"
        return Choice("openvino", reason if name == "auto" else "it was asked for", folder)
    kind = "" if weights == "auto" else f" with {weights} weights"
    missing = (
        f"the package is not converted for OpenVINO{kind}"
        if folder is None
        else "OpenVINO is missing"
    )
    if name == "auto":
        return Choice("transformers", missing)
    raise MissingInput(
        f"{root} cannot be served with openvino: {missing}",
        hint="`hieno package` converts it; `--engine transformers` always works",
    )


def open_engine(
    root: Path,
    *,
    name: str = "auto",
    weights: str = "auto",
    settings: Serve | None = None,
    model: Model | None = None,
) -> Engine:
    """Load a package's weights into the chosen engine (see `choose_engine`)."""
    settings = settings or Serve()
    model = model or read_model(root, settings)
    choice = choose_engine(root, name, weights)
    if choice.name == "vllm":
        from hieno.serve.engines.vllm import open_vllm

        return open_vllm(model, settings)
    if choice.folder is not None:
        from hieno.serve.engines.openvino import open_openvino

        return open_openvino(choice.folder, model, settings)
    from hieno.serve.engines.transformers import open_transformers

    return open_transformers(model, settings)


def _checked_vllm() -> str:
    from hieno import environments

    if environments.present("vllm") is None:
        raise MissingInput(
            "the side environment of vLLM is not there",
            hint="`hieno package --engine vllm` makes it (several GB); an NVIDIA GPU is needed",
        )
    return "it was asked for"
