"""The whole configuration as one frozen tree, and where each value came from.

A value comes from a flag, else the environment, else `hieno.yaml`, else the named preset of its
section, else its default. The
environment variable of a key is `HIENO_` and the key in capitals with `_` for the dot:
`train.epochs` is `HIENO_TRAIN_EPOCHS`. Secrets are never part of this tree.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self  # Any: YAML values before they are validated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from hieno import yamlfile
from hieno.errors import ConfigError, MissingInput

FILE_NAME = "hieno.yaml"

# Azure's rule for endpoints, kept everywhere so that a project can move there unchanged.
Name = Annotated[
    str, Field(min_length=3, max_length=32, pattern=r"^[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*$")
]

Percent = Annotated[int, Field(ge=1, le=100)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Data(_Section):
    """Where the chats are and how they are divided."""

    source: str = Field(
        "data/chats.jsonl",
        description="your chats: a file, a folder, a glob, or a hub dataset (hf:OWNER/NAME)",
    )
    format: Literal["auto", "messages", "sharegpt", "alpaca", "prompt-completion"] = Field(
        "auto", description="shape of the rows"
    )
    columns: dict[str, str] = Field(
        default={}, description="column of each field, where it has another name"
    )
    subset: str | None = Field(None, description="config of a hub dataset")
    split: str | None = Field(
        None, description="split of a hub dataset, or a slice: train_sft[:1%]"
    )
    revision: str | None = Field(None, description="commit of a hub dataset")
    test: str | None = Field(None, description="your own held-out file; without it, a share is cut")
    test_size: float = Field(0.2, gt=0, lt=1, description="share held out when there is no file")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="seed of the split")
    normalise: bool = Field(True, description="bring text into Unicode's NFC form")
    near_duplicates: Literal["drop", "keep"] = Field(
        "drop", description="what happens to chats that are nearly the same as another"
    )
    similarity: float = Field(
        0.8,
        ge=0.5,
        le=1,
        description="share of equal word trigrams that makes chats nearly the same",
    )
    secrets: Literal["report", "mask", "drop"] = Field(
        "report", description="what happens to keys and tokens in the text"
    )
    personal: Literal["report", "mask", "drop"] = Field(
        "report", description="what happens to e-mail addresses, phone, card and account numbers"
    )
    replay: str | None = Field(
        None,
        description="JSONL of general prompts; the base model's own answers to them are mixed in "
        "so that old knowledge survives",
    )
    replay_tokens: int = Field(48, ge=1, le=1024, description="longest replayed answer, in tokens")
    strict: bool = Field(False, description="fail on the first bad row instead of setting it aside")
    workers: int = Field(
        0, ge=0, le=256, description="processes that prepare the chats; 0: all cores"
    )


class Train(_Section):
    """How the model is fine-tuned."""

    preset: Literal["tutorial"] | None = Field(
        None, description="named values for this section; keys that are set here win over them"
    )
    method: Literal["lora", "qlora", "full"] = Field(
        "lora", description="an adapter, one on a 4-bit base (CUDA only), or every weight"
    )
    variant: Literal["plain", "rslora", "dora"] = Field("plain", description="kind of LoRA")
    rank: int = Field(32, ge=1, le=1024, description="rank of the LoRA adapter")
    alpha: int = Field(64, ge=1, le=4096, description="LoRA scaling numerator")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the adapter's input")
    targets: Literal["all"] | list[str] = Field(
        "all", description="layers to adapt: all linear ones, or a list of module names"
    )
    learning_rate: float = Field(2e-4, gt=0, le=1, description="peak learning rate")
    scheduler: Literal["cosine", "linear", "constant"] = Field("cosine", description="its course")
    warmup: float = Field(0.06, ge=0, lt=1, description="share of the steps spent warming up")
    epochs: float = Field(3, gt=0, le=1000, description="passes over the training chats")
    batch_size: int = Field(8, ge=1, le=4096, description="chats in one optimiser step")
    max_length: int = Field(2048, ge=16, description="longest chat, in tokens")
    loss_on: Literal["replies", "all"] = Field(
        "replies", description="tokens that are learnt: the assistant's, or every one"
    )
    replay_loss: Literal["distribution", "words"] = Field(
        "distribution",
        description="what replayed answers hold in place: the base's whole distribution over the "
        "next token, or its words alone",
    )
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled weight decay")
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    seed: int = Field(0, ge=0, description="seed of the initial adapter and of the order of chats")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="type of the matrix products; auto measures this machine"
    )
    evaluate: Literal["end", "epoch"] = Field(
        "end", description="when the held-out loss is measured: after training, or each epoch too"
    )
    patience: int = Field(
        0,
        ge=0,
        le=1000,
        description="epochs without a better held-out loss until training stops and the best "
        "weights are kept; 0 trains to the end",
    )
    attention: Literal["auto", "by_document", "sdpa", "eager", "flash_attention_2"] = Field(
        "auto", description="attention of the training pass; every one keeps chats apart"
    )
    loss: Literal["auto", "chunked", "stock"] = Field(
        "auto", description="how the loss is computed: over supervised tokens only, or stock"
    )
    layers: Literal["auto", "fused", "stock"] = Field(
        "auto", description="small steps of a layer in few passes over memory, or stock"
    )
    checkpointing: bool = Field(
        False, description="keep fewer activations and compute them again: less memory, slower"
    )
    pass_tokens: int = Field(
        4096,
        ge=64,
        le=1_000_000,
        description="most tokens in one forward pass of a step; fewer where memory is short",
    )
    save_minutes: float = Field(1.0, gt=0, description="minutes between checkpoints")
    keep_checkpoints: int = Field(2, ge=2, le=100, description="checkpoints kept on disk")

    @model_validator(mode="after")
    def _patience_needs_losses(self) -> Self:
        if self.patience and self.evaluate != "epoch":
            raise ValueError("patience needs a held-out loss each epoch: set evaluate to epoch")
        return self


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


class Package(_Section):
    """How the tuned model is made ready to be served."""

    engine: Literal["auto", "openvino", "transformers"] = Field(
        "auto", description="engine to convert for"
    )
    weights: Literal["fp32", "int8"] = Field("fp32", description="weight format of the engine")


class Evaluate(_Section):
    """How base and tuned model are compared."""

    general: str | None = Field(None, description="JSONL of general questions with answers")
    max_new_tokens: int = Field(60, ge=1, le=4096, description="longest answer, in tokens")
    show: int = Field(3, ge=0, le=100, description="answers shown side by side")


class Serve(_Section):
    """Limits of one running model."""

    max_new_tokens: int = Field(1024, ge=1, le=32768, description="most tokens one request may get")
    max_requests: int = Field(64, ge=1, le=4096, description="requests answered at the same time")
    cache_gb: float = Field(2.0, gt=0, description="memory for the KV cache, in gigabytes")


class Endpoint(_Section):
    """The address at which the model answers."""

    name: Name = Field("hieno", description="name of the endpoint")
    port: int = Field(8000, ge=1024, le=65535, description="first loopback port that is tried")
    instances: int = Field(1, ge=1, le=50, description="running copies of the model")
    request_timeout: float = Field(180, gt=0, le=600, description="seconds until an answer is due")
    steps: list[Percent] = Field(
        [10, 50, 100],
        min_length=1,
        max_length=20,
        description="percent of the traffic that a new version gets, step by step; where the last "
        "is below 100, both versions go on",
    )
    step_requests: int = Field(
        20, ge=1, le=100_000, description="answers of the new version that end a step"
    )
    step_seconds: float = Field(30, gt=0, le=86_400, description="longest step, in seconds")
    max_errors: float = Field(
        0.02, ge=0, le=1, description="more failed answers than before, as a share, that are borne"
    )
    max_slowdown: float = Field(
        3.0, ge=1, le=1000, description="how many times the time of before an answer may take"
    )

    @field_validator("steps")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if sorted(set(value)) != value:
            raise ValueError("rises from step to step, such as [10, 50, 100]")
        return value


class Flow(_Section):
    """The generated prompt flow."""

    path: str = Field("flow", description="folder of the flow, yours to edit")
    port: int = Field(8080, ge=1024, le=65535, description="first port tried by `flow serve`")


class Mlflow(_Section):
    """Where runs and versions are shown."""

    tracking_uri: str | None = Field(None, description="a server; default: a local database")
    experiment: str | None = Field(None, description="default: the project's name")

    @field_validator("tracking_uri")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value and re.search(r"://[^/?#]*@", value):
            raise ValueError("holds a password, which belongs into MLFLOW_TRACKING_PASSWORD")
        return value


class Config(_Section):
    """A project, whole. Section and key names are those of `hieno.yaml` and of the flags."""

    name: Name = Field("my-model", description="the project's and the model's name")
    model: str = Field(
        "phi-3.5-mini", min_length=1, description="a preset, a hub id or a local folder"
    )
    revision: str | None = Field(None, description="commit of a hub model; presets pin their own")
    target: Literal["local"] = Field("local", description="where the stages run")
    data: Data = Data()
    train: Train = Train()
    package: Package = Package()
    evaluate: Evaluate = Evaluate()
    serve: Serve = Serve()
    endpoint: Endpoint = Endpoint()
    flow: Flow = Flow()
    mlflow: Mlflow = Mlflow()

    @field_validator("model")
    @classmethod
    def _no_credentials(cls, value: str) -> str:
        if re.match(r"[a-z]+://", value):
            raise ValueError("is a preset, a hub id or a local folder, not an address")
        return value


@dataclass(frozen=True)
class Origin:
    """A value of the configuration and where it came from (`default`, `file:line`, ...)."""

    key: str
    value: Any
    source: str


@dataclass(frozen=True)
class Resolved:
    """A valid configuration with the origin of each of its values."""

    config: Config
    origins: tuple[Origin, ...]


def load(
    path: Path | None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Resolved:
    """Resolve the configuration from flags, the environment and a file.

    `path` may be None (no project); `flags` maps dotted keys to values. Strings of flags and
    variables are read as YAML scalars, except for keys that hold text. Raises `ConfigError` with
    every problem at once, each with its place.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    if path is not None:
        values, lines = _read_file(path)
        places = {key: f"{path.name}:{line}" for key, line in lines.items()}
    for key, variable, text in _from_environment(
        os.environ if environment is None else environment
    ):
        _set(values, key, _read_text(key, text))
        places[key] = variable
    for key, value in (flags or {}).items():
        _set(values, key, _read_text(key, value) if isinstance(value, str) else value)
        places[key] = "command line"
    for key, value in _preset(values):
        if key not in places:
            _set(values, key, value)
            places[key] = "preset"
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise _explain(error, places, path) from None
    return Resolved(config, tuple(_origins(config, places)))


def keys() -> dict[str, Any]:
    """Return every dotted key of the tree with its pydantic field."""
    return dict(_leaves(Config))


def schema() -> dict[str, Any]:
    """Return the JSON schema of `hieno.yaml`, for editors."""
    made = Config.model_json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = FILE_NAME
    return made


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingInput(
            f"there is no {path}", hint="`hieno init` makes a project here"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8"
        ) from None
    return yamlfile.parse(text, name=path.name)


def _preset(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    train = values.get("train")
    named = train.get("preset") if isinstance(train, dict) else None
    for key, value in PRESETS.get(named, {}).items() if isinstance(named, str) else ():
        yield f"train.{key}", value


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for key in keys():
        variable = "HIENO_" + key.upper().replace(".", "_")
        if variable in environment:
            yield key, variable, environment[variable]


def _read_text(key: str, text: str) -> Any:
    field = keys().get(key)
    if field is None or field.annotation not in (str, str | None):
        return yamlfile.scalar(text)
    optional = field.annotation is not str
    return None if optional and text in ("", "null") else text


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        inner = values.get(section)
        if not isinstance(inner, dict):
            inner = values[section] = {}
        values = inner
    values[last] = value


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _origins(config: Config, places: Mapping[str, str]) -> Iterator[Origin]:
    for key in keys():
        value: Any = config
        for part in key.split("."):
            value = getattr(value, part)
        yield Origin(key, value, places.get(key, "default"))


def _explain(error: ValidationError, places: Mapping[str, str], path: Path | None) -> ConfigError:
    problems = sorted(
        {_problem(details, places, path) for details in error.errors()}, key=_place_order
    )
    count = "" if len(problems) == 1 else f"{len(problems)} problems in the configuration\n"
    return ConfigError(
        count + "\n".join(problems),
        hint="`hieno config schema` describes every key; `hieno config show` prints what is used",
    )


def _problem(details: ErrorDetails, places: Mapping[str, str], path: Path | None) -> str:
    key = ".".join(str(part) for part in details["loc"] if part not in ("list[str]",))
    known = key
    while known not in places and "." in known:
        known = known.rpartition(".")[0]
    place = places.get(known, path.name if path else "configuration")
    if details["type"] == "extra_forbidden":
        return f"{place}: unknown key '{key}'{_did_you_mean(key)}"
    words = details["msg"].removeprefix("Value error, ")
    words = words[0].lower() + words[1:]
    return f"{place}: {key}: {words} (it is {_without_password(details['input'])})"


def _without_password(value: Any) -> str:
    return re.sub(r"://[^/@\s]*@", "://***@", repr(value))


def _did_you_mean(key: str) -> str:
    section, _, last = key.rpartition(".")
    prefix = f"{section}." if section else ""
    siblings = {
        known.removeprefix(prefix).partition(".")[0] for known in keys() if known.startswith(prefix)
    }
    near = difflib.get_close_matches(last, siblings, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{prefix}{near[0]}'?"
    elsewhere = [known for known in keys() if known.rpartition(".")[2] == last]
    return f"; did you mean '{elsewhere[0]}'?" if elsewhere else ""


def _place_order(problem: str) -> tuple[str, int, str]:
    found = re.match(r"([^:]*):(\d+):", problem)
    return (found[1], int(found[2]), problem) if found else ("", 0, problem)
