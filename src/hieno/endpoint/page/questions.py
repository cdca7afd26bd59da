"""A question of the page on its way to a container, and what its answer costs a guest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal  # Any: JSON of the page and of the container

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hieno.endpoint.dialect import Problem
from hieno.endpoint.incoming import Refused
from hieno.endpoint.page.feedback import Message
from hieno.endpoint.page.visitors import Visitor
from hieno.endpoint.upstream import Call

ROUTE = b"/v1/chat/completions"

NO_REQUESTS = Problem(
    403, "requests_used_up", "this link has no questions left", kind="insufficient_quota"
)
NO_TOKENS = Problem(
    403, "tokens_used_up", "this link has no tokens left", kind="insufficient_quota"
)


class Question(BaseModel):
    """What the page sends; the container checks it again, this names what may pass at all."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    who: Literal["tuned", "base"]
    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_tokens: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    seed: int | None = None


def read(body: dict[str, Any], *, most: int) -> Question:
    """Check what a page has sent; an answer is cut at the `most` tokens that are served."""
    try:
        question = Question.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refused(Problem(400, "invalid_request", f"{place}: {first['msg']}")) from None
    return question.model_copy(update={"max_tokens": min(question.max_tokens, most)})


@contextmanager
def paid(visitor: Visitor, question: Question) -> Iterator[Account]:
    """Have a visitor pay for an answer while it is made."""
    account = Account(visitor, question)
    account.pay()
    try:
        yield account
    finally:
        account.give_back()


class Account:
    """One answer on a visitor's account: paid in full before it begins, the rest given back.

    So no number of answers at once can exceed what is left. A question that was refused costs
    nothing.
    """

    def __init__(self, visitor: Visitor, question: Question) -> None:
        self._visitor = visitor
        self._tokens = question.max_tokens
        self._question = question
        self._written = 0
        self._open = True
        self._rest = b""

    def pay(self) -> None:
        """Take the whole price; raise `Refused` where nothing is left."""
        visitor = self._visitor
        if visitor.requests is not None and visitor.tokens is not None:
            if visitor.requests < 1:
                raise Refused(NO_REQUESTS)
            if visitor.tokens < 1:
                raise Refused(NO_TOKENS)
            self._tokens = min(self._tokens, visitor.tokens)
            visitor.requests -= 1
            visitor.tokens -= self._tokens

    def give_back(self) -> None:
        """Return what was not used, once."""
        visitor = self._visitor
        if self._open and visitor.requests is not None and visitor.tokens is not None:
            self._open = False
            visitor.tokens += max(0, self._tokens - self._written)
            if not self._written:
                visitor.requests += 1

    def call(self, call: Call, model: str) -> Call:
        """Return the call that a container gets."""
        wanted = self._question.model_dump(exclude={"who"}, exclude_none=True)
        body = {
            **wanted,
            "model": model,
            "max_tokens": self._tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        text = json.dumps(body, ensure_ascii=False)
        return replace(call, target=ROUTE, body=text.encode())

    def count(self, status: int, chunk: bytes) -> None:
        """Look at a piece of the answer as it passes."""
        if self._visitor.requests is None:
            return
        if status != 200:
            self.give_back()  # before the page hears of the refusal, and asks what is left
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b'data: {"'):
                self._count(line.removeprefix(b"data: "))

    def _count(self, data: bytes) -> None:
        try:
            event = json.loads(data)
        except ValueError:
            return  # the page will say so
        if usage := event.get("usage"):
            self._written = int(usage["completion_tokens"])
            self.give_back()  # before the page hears of the end, and asks what is left
        elif event.get("choices") and event["choices"][0].get("delta", {}).get("content"):
            self._written += 1  # at least: what a reader who leaves early has had
