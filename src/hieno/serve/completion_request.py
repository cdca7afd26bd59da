"""The body of `POST /v1/completions`: a text or its tokens to go on from, without a template.

Contract: openai-openapi 2.3.0. `top_k`, `repetition_penalty` and `ignore_eos` are additions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any  # a body's values have any type until they are checked

from pydantic import BaseModel, ConfigDict, WithJsonSchema

from hieno.serve.parameters import (
    ModelName,
    Penalty,
    Seed,
    Stop,
    StreamOptions,
    Temperature,
    Tokens,
    TopK,
    TopP,
    read_body,
    whole,
)
from hieno.serve.refusals import Refused

DEFAULT_TOKENS = 16  # the contract's own
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0, 0.0),
    "logit_bias": ({},),
    "logprobs": (),
    "n": (1,),
    "presence_penalty": (0, 0.0),
    "suffix": ("",),
}
_WITHOUT_EFFECT = frozenset({"user"})

Prompt = str | list[int]
_TEXT = {"type": "string", "minLength": 1}
_IDS = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}
_SEVERAL = {"type": "array", "minItems": 1, "items": {"anyOf": [_TEXT, _IDS]}}
_PROMPT_SCHEMA = {"anyOf": [_TEXT, _IDS, _SEVERAL]}


class CompletionRequest(BaseModel):
    """A request to go on from one prompt or from several; see `prompts`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: ModelName
    prompt: Annotated[Any, WithJsonSchema(_PROMPT_SCHEMA)]
    max_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    repetition_penalty: Penalty | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool | None = None

    def prompts(self, most: int) -> list[Prompt]:
        """Return each prompt: one text or token list, or a list of them."""
        if isinstance(self.prompt, list) and all(
            isinstance(each, str | list) for each in self.prompt
        ):
            if len(self.prompt) > most:
                raise _wrong(f"has {len(self.prompt)} prompts; at most {most} are answered")
            several = self.prompt
        else:
            several = [self.prompt]
        if not several or not all(map(_is_prompt, several)):
            raise _wrong("must be a text or a list of token ids, or a list of these; none is empty")
        if self.stream and len(several) > 1:
            raise _wrong(f"has {len(several)} prompts; a stream answers exactly one")
        return [each if isinstance(each, str) else list(map(whole, each)) for each in several]


def read_completion_request(body: Mapping[str, Any]) -> CompletionRequest:
    """Check a body; a 400 names the first field that is wrong or that we cannot honour."""
    return read_body(body, CompletionRequest, refused=_REFUSED, without_effect=_WITHOUT_EFFECT)


def _is_prompt(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    return (
        bool(value) and isinstance(value, list) and all(type(whole(each)) is int for each in value)
    )


def _wrong(words: str) -> Refused:
    return Refused(400, f"'prompt' {words}.", "invalid_value", "prompt")
