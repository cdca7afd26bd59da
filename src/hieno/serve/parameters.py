"""What every request body is made of: bounded fields, and one way to read and to refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import (  # Any: a body's values have any type until they are checked
    Annotated,
    Any,
    Protocol,
    TypeVar,
)

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hieno.serve.engines import Sampling
from hieno.serve.refusals import Refused, from_validation


def whole(value: Any) -> Any:
    """Return 1 for 1.0, which is the same number in JSON; leave everything else alone."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Tokens = Annotated[int, Field(ge=1, le=32768), BeforeValidator(whole)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
TopK = Annotated[int, Field(ge=0, le=1000), BeforeValidator(whole)]
Penalty = Annotated[float, Field(ge=0.1, le=10, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1), BeforeValidator(whole)]
StopString = Annotated[str, Field(min_length=1, max_length=1000)]
Stop = StopString | Annotated[list[StopString], Field(max_length=4)]

Body = TypeVar("Body", bound=BaseModel)


class StreamOptions(BaseModel):
    """What a stream carries besides its text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    include_usage: bool = False
    include_obfuscation: bool = False


def read_body(
    body: Mapping[str, Any],
    kind: type[Body],
    *,
    refused: Mapping[str, tuple[Any, ...]],
    without_effect: frozenset[str],
) -> Body:
    """Check a body; a 400 names the first field that is wrong or that we cannot honour.

    `refused` are fields of the contract that are not done here, each with the values that ask for
    nothing; `without_effect` are fields that cannot change an answer.
    """
    kept = dict(body)
    for name, harmless in refused.items():
        value = kept.pop(name, None)
        if value is not None and not any(_same(value, other) for other in harmless):
            raise _unsupported(name, harmless)
    for name in without_effect:
        kept.pop(name, None)
    try:
        request = kind.model_validate(kept)
    except ValidationError as error:
        raise from_validation(error) from None
    if kept.get("stream_options") is not None and not kept.get("stream"):
        raise Refused(400, "'stream_options' needs 'stream'.", "invalid_value", "stream_options")
    return request


class Choices(Protocol):
    """The fields of a request that say how tokens are chosen."""

    @property
    def temperature(self) -> float | None: ...
    @property
    def top_p(self) -> float | None: ...
    @property
    def top_k(self) -> int | None: ...
    @property
    def repetition_penalty(self) -> float | None: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def stop(self) -> str | list[str] | None: ...
    @property
    def ignore_eos(self) -> bool | None: ...


def sampling_of(asked: Choices, max_new_tokens: int, json_schema: str | None = None) -> Sampling:
    """Return how a request wants tokens to be chosen; see `sampling`."""
    return sampling(
        max_new_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        repetition_penalty=asked.repetition_penalty,
        seed=asked.seed,
        stop=asked.stop,
        ignore_eos=asked.ignore_eos,
        json_schema=json_schema,
    )


def sampling(
    max_new_tokens: int,
    *,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    repetition_penalty: float | None = None,
    seed: int | None = None,
    stop: str | list[str] | None = None,
    ignore_eos: bool | None = None,
    json_schema: str | None = None,
) -> Sampling:
    """Return how to choose tokens: greedy, unless the request asks for chance."""
    random = top_p is not None or top_k is not None
    return Sampling(
        max_new_tokens=max_new_tokens,
        temperature=(1.0 if random else 0.0) if temperature is None else temperature,
        top_p=1.0 if top_p is None else top_p,
        top_k=top_k or 0,
        repetition_penalty=repetition_penalty or 1.0,
        seed=None if seed is None else seed & (2**63 - 1),  # what every engine takes
        stop=() if stop is None else (stop,) if isinstance(stop, str) else tuple(stop),
        ignore_eos=bool(ignore_eos),
        json_schema=json_schema,
    )


def _same(value: Any, other: Any) -> bool:
    # Not by == alone: True equals 1, and `n: true` is a mistake.
    return type(value) is type(other) and bool(value == other)


def _unsupported(name: str, harmless: tuple[Any, ...]) -> Refused:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    if harmless and not isinstance(harmless[0], list | dict):
        message = (
            f"Unsupported value: '{name}' may only be {json.dumps(harmless[0])} with this model."
        )
    return Refused(400, message, "unsupported_parameter", name)
