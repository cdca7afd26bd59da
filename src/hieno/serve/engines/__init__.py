"""The seam between HTTP and the model: prompt tokens in, answer tokens out, one at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Literal, Protocol

from hieno.config import Serve
from hieno.environments.gpu import gpu_of_vllm
from hieno.errors import HienoError, MissingInput, UsageError
from hieno.package.layout import engine_folder
from hieno.serve.model import Model, read_model

Finish = Literal["stop", "length"]
ENGINES = ("openvino", "transformers", "vllm")
_COLDEST = 1e-5
_NARROWEST = 1e-6  # the likeliest of any vocabulary's tokens has a larger share


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; `temperature` 0 is greedy, `top_k` 0 is every token.

    Engines ignore `stop` (strings): only the text layer can see them. `json_schema` is for those
    that constrain (`Engine.constrains`): the answer is JSON that follows it.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    json_schema: str | None = None

    @property
    def greedy(self) -> bool:
        """Tell whether the likeliest token is always taken."""
        return self.temperature < _COLDEST or self.top_p < _NARROWEST or self.top_k == 1


@dataclass(frozen=True)
class Token:
    """One generated token; the last one of an answer says why it is the last."""

    id: int
    finish: Finish | None = None


class EngineFailed(HienoError):
    """The engine could not finish an answer; the request itself was in order."""


class Engine(Protocol):
    """A loaded model that answers many prompts at the same time."""

    name: str
    constrains: bool

    def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Token, None]:
        """Yield the answer's tokens; closing the iterator early frees its slot."""
        ...

    def healthy(self) -> bool:
        """Tell whether the engine can still answer."""
        ...

    def close(self) -> None:
        """End the engine and free its memory."""
        ...


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
