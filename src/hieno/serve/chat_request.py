"""The body of `POST /v1/chat/completions`: every number bounded, nothing silently ignored.

Contract: openai-openapi 2.3.0. `top_k`, `repetition_penalty` and `ignore_eos` are additions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # a body's values have any type until they are checked

from pydantic import BaseModel, ConfigDict

from hieno.serve.answer_format import ResponseFormat
from hieno.serve.messages import Conversation
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
)

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


class ChatRequest(BaseModel):
    """A request for one answer to a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: ModelName
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
    response_format: ResponseFormat | None = None

    @property
    def wanted_tokens(self) -> tuple[int | None, str]:
        """The asked-for length and the field that asked: the newer name wins."""
        if self.max_completion_tokens is not None:
            return self.max_completion_tokens, "max_completion_tokens"
        return self.max_tokens, "max_tokens"


def read_chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """Check a body; a 400 names the first field that is wrong or that we cannot honour."""
    return read_body(body, ChatRequest, refused=_REFUSED, without_effect=_WITHOUT_EFFECT)
