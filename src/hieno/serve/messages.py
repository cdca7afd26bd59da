"""Conversations as requests write them, and as the chat template takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from hieno.serve.refusals import Refused

MOST_PARTS = 256
MOST_MESSAGES = 2048

# A text or a list, told apart by what came, so that an error names the part that is wrong.
BY_KIND = Discriminator(lambda value: "a-text" if isinstance(value, str) else "a-list")
A_TEXT, A_LIST = Tag("a-text"), Tag("a-list")


class TextPart(BaseModel):
    """A part of a message; pictures and sounds are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["text"]
    text: str


Parts = Annotated[list[TextPart], Field(min_length=1, max_length=MOST_PARTS)]


class ChatMessage(BaseModel):
    """One message. The fields that may only be null come back in clients' own histories."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Annotated[str, A_TEXT] | Annotated[Parts, A_LIST], BY_KIND]
    name: Annotated[str, Field(max_length=64)] | None = None
    refusal: None = None
    annotations: Annotated[list[None], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[None], Field(max_length=0)] | None = None


Conversation = Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES)]


def plain(conversation: Sequence[ChatMessage], *, param: str) -> list[dict[str, str]]:
    """Return what the template takes: developer is system, and parts are one text."""
    if conversation[-1].role == "assistant":
        raise Refused(
            400, f"The last message of '{param}' is the assistant's own.", "invalid_value", param
        )
    return [{"role": _role(message), "content": _text(message)} for message in conversation]


def _role(message: ChatMessage) -> str:
    return "system" if message.role == "developer" else message.role


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content)
