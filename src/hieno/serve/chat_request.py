"""The body of `POST /v1/chat/completions`: every number bounded, nothing silently ignored.

Contract: openai-openapi 2.3.0. `top_k`, `repetition_penalty` and `ignore_eos` are additions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any  # a body's values have any type until they are checked

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hieno.serve.engines import Sampling
from hieno.serve.messages import Conversation
from hieno.serve.refusals import Refused, from_validation

# What we do not do may only be asked not to be done.
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0, 0.0),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0, 0.0),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
# What cannot change an answer here: bookkeeping of the hosted service.
_WITHOUT_EFFECT = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)

Tokens = Annotated[int, Field(ge=1, le=32768)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
TopK = Annotated[int, Field(ge=0, le=1000)]
Penalty = Annotated[float, Field(ge=0.1, le=10, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
StopString = Annotated[str, Field(min_length=1, max_length=1000)]
Stop = StopString | Annotated[list[StopString], Field(max_length=4)]


class StreamOptions(BaseModel):
    """What a stream carries besides its text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(BaseModel):
    """A request for one answer to a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    messages: Conversation
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    repetition_penalty: Penalty | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool | None = None

    @property
    def wanted_tokens(self) -> tuple[int | None, str]:
        """The asked-for length and the field that asked: the newer name wins."""
        if self.max_completion_tokens is not None:
            return self.max_completion_tokens, "max_completion_tokens"
        return self.max_tokens, "max_tokens"

    def sampling(self, max_new_tokens: int) -> Sampling:
        """Return how to choose tokens: greedy, unless the request asks for chance."""
        random = self.top_p is not None or self.top_k is not None
        temperature = self.temperature
        return Sampling(
            max_new_tokens=max_new_tokens,
            temperature=(1.0 if random else 0.0) if temperature is None else temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k or 0,
            repetition_penalty=self.repetition_penalty or 1.0,
            seed=seed(self.seed),
            stop=stop(self.stop),
            ignore_eos=bool(self.ignore_eos),
        )


def read_chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """Check a body; a 400 names the first field that is wrong or that we cannot honour."""
    kept = dict(body)
    for name, harmless in _REFUSED.items():
        value = kept.pop(name, None)
        if value is not None and not any(_same(value, other) for other in harmless):
            raise _unsupported(name, harmless)
    for name in _WITHOUT_EFFECT:
        kept.pop(name, None)
    try:
        request = ChatRequest.model_validate(kept)
    except ValidationError as error:
        raise from_validation(error) from None
    if request.stream_options is not None and not request.stream:
        raise Refused(400, "'stream_options' needs 'stream'.", "invalid_value", "stream_options")
    return request


def seed(value: int | None) -> int | None:
    """Return a seed that every engine takes (63 bits, not negative)."""
    return None if value is None else value & (2**63 - 1)


def stop(value: str | list[str] | None) -> tuple[str, ...]:
    """Return stop strings as a tuple, however they were written."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _same(value: Any, other: Any) -> bool:
    # Not by == alone: True equals 1, and `n: true` is a mistake.
    return type(value) is type(other) and value == other


def _unsupported(name: str, harmless: tuple[Any, ...]) -> Refused:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    if harmless and not isinstance(harmless[0], list | dict):
        message = f"Unsupported value: '{name}' may only be {harmless[0]!r} with this model."
    return Refused(400, message, "unsupported_parameter", name)
