"""The body of `POST /v1/responses`, as far as one model without tools or memory can honour it.

Contract: openai-openapi 2.3.0. `top_k`, `repetition_penalty`, `seed`, `stop` and `ignore_eos` are
not part of it and are refused like any unknown field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal  # a body's values have any type until they are checked

from pydantic import BaseModel, ConfigDict, Field

from hieno.serve.answer_format import TextFormat
from hieno.serve.engines import Sampling
from hieno.serve.messages import A_LIST, A_TEXT, BY_KIND, MOST_MESSAGES, MOST_PARTS
from hieno.serve.parameters import ModelName, Temperature, Tokens, TopP, read_body, sampling
from hieno.serve.refusals import Refused

_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "background": (False,),
    "context_management": ([],),
    "conversation": (),
    # There is never a reasoning item whose encrypted content could be included.
    "include": ([], ["reasoning.encrypted_content"]),
    "max_tool_calls": (),
    "moderation": (),
    "previous_response_id": (),
    "prompt": (),
    "reasoning": ({},),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
_WITHOUT_EFFECT = frozenset(
    {
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "user",
    }
)


class Part(BaseModel):
    """A part of an item; the fields that may only be empty come back in clients' histories."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["input_text", "output_text"]
    text: str
    annotations: Annotated[list[None], Field(max_length=0)] | None = None
    logprobs: Annotated[list[None], Field(max_length=0)] | None = None


Parts = Annotated[list[Part], Field(min_length=1, max_length=MOST_PARTS)]


class Item(BaseModel):
    """One message of the input; other kinds of items are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Annotated[str, A_TEXT] | Annotated[Parts, A_LIST], BY_KIND]
    id: Annotated[str, Field(max_length=128)] | None = None
    status: Literal["in_progress", "completed", "incomplete"] | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class TextSettings(BaseModel):
    """How the answer's text must look."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: TextFormat | None = None


class StreamSettings(BaseModel):
    """What a stream carries besides its text: here always nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    include_obfuscation: bool = False


Items = Annotated[list[Item], Field(min_length=1, max_length=MOST_MESSAGES)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class ResponsesRequest(BaseModel):
    """A request for one answer; nothing of it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: ModelName
    input: Annotated[Annotated[str, A_TEXT] | Annotated[Items, A_LIST], BY_KIND]
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    text: TextSettings | None = None
    metadata: Metadata | None = None
    stream: bool | None = None
    stream_options: StreamSettings | None = None

    def messages(self) -> list[dict[str, str]]:
        """Return what the template takes: instructions and developers are system messages."""
        first = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            return [*first, {"role": "user", "content": self.input}]
        if self.input[-1].role == "assistant":
            words = "The last message of 'input' is the assistant's own."
            raise Refused(400, words, "invalid_value", "input")
        return first + [{"role": _role(item), "content": _text(item)} for item in self.input]

    def sampling(self, max_new_tokens: int, json_schema: str | None) -> Sampling:
        """Return how to choose tokens: greedy, unless the request asks for chance."""
        return sampling(
            max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            json_schema=json_schema,
        )


def read_responses_request(body: Mapping[str, Any]) -> ResponsesRequest:
    """Check a body; a 400 names the first field that is wrong or that we cannot honour."""
    return read_body(body, ResponsesRequest, refused=_REFUSED, without_effect=_WITHOUT_EFFECT)


def _role(item: Item) -> str:
    return "system" if item.role == "developer" else item.role


def _text(item: Item) -> str:
    if isinstance(item.content, str):
        return item.content
    return "\n".join(part.text for part in item.content)
