"""`POST /v1/responses`: one message as the answer, whole or as the contract's named events."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any  # JSON objects have no narrower type that mypy can check

from hieno.serve.answer import complete, pieces
from hieno.serve.answer_format import json_schema
from hieno.serve.engines import EngineFailed, Sampling
from hieno.serve.responses_request import ResponsesRequest
from hieno.serve.service import Service
from hieno.serve.sse import event


async def whole(service: Service, asked: ResponsesRequest) -> dict[str, Any]:
    """Return the whole response."""
    answer = _Answer(asked)
    with service.slots.take():
        prompt, sampling = await _prepare(service, asked)
        found = await complete(service.engine, service.model, prompt, sampling)
    return answer.finished(found.text, found.finish_reason, len(prompt), found.generated)


async def stream(service: Service, asked: ResponsesRequest) -> AsyncGenerator[str, None]:
    """Yield the response as events, in the order that the contract's state machine has."""
    answer = _Answer(asked)
    with service.slots.take():
        prompt, sampling = await _prepare(service, asked)
        text, finish, generated = "", "stop", 0
        try:
            answered = pieces(service.engine, service.model, prompt, sampling)
            async with aclosing(answered):
                for opening in answer.opening():
                    yield opening
                async for piece in answered:
                    generated += len(piece.token_ids)
                    text += piece.text
                    finish = piece.finish or finish
                    if piece.text:
                        yield answer.text_event("delta", delta=piece.text)
        except EngineFailed as error:
            # Not `response.failed`: clients take that for an end, and this for an error.
            yield answer.event("error", code="engine_failed", message=error.message, param=None)
            return
    for closing in answer.closing(text, finish, len(prompt), generated):
        yield closing


async def _prepare(service: Service, asked: ResponsesRequest) -> tuple[list[int], Sampling]:
    wanted = None if asked.text is None else asked.text.format
    schema = None
    if wanted is not None:
        schema = json_schema(
            wanted.type,
            wanted.schema_,
            param="text.format",
            place="text.format.schema",
            constrains=service.engine.constrains,
        )
    prompt = await service.prompt(asked.messages(), param="input")
    room = service.room(prompt, asked.max_output_tokens, param="max_output_tokens")
    return prompt, asked.sampling(room, schema)


@dataclass
class _Answer:
    """One response object with its one message, from `in_progress` to its end."""

    asked: ResponsesRequest
    id: str = field(default_factory=lambda: f"resp_{secrets.token_hex(24)}")
    message_id: str = field(default_factory=lambda: f"msg_{secrets.token_hex(24)}")
    created: int = field(default_factory=lambda: int(time.time()))
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def opening(self) -> list[str]:
        """Return the events before the first word."""
        begun = self._response("in_progress", [])
        return [
            self.event("response.created", response=begun),
            self.event("response.in_progress", response=begun),
            self._item_event("added", self._message("in_progress", [])),
            self._part_event("added", ""),
        ]

    def closing(self, text: str, finish: str, prompt: int, generated: int) -> list[str]:
        """Return the events after the last word."""
        whole = self.finished(text, finish, prompt, generated)
        return [
            self.text_event("done", text=text),
            self._part_event("done", text),
            self._item_event("done", whole["output"][0]),
            self.event(f"response.{whole['status']}", response=whole),
        ]

    def finished(self, text: str, finish: str, prompt: int, generated: int) -> dict[str, Any]:
        """Return the response; one that its token limit ended is incomplete."""
        status = "incomplete" if finish == "length" else "completed"
        whole = self._response(status, [self._message(status, [_part(text)])])
        if status == "incomplete":
            whole["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            whole["completed_at"] = int(time.time())
        whole["usage"] = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": generated,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + generated,
        }
        return whole

    def text_event(self, kind: str, **words: str) -> str:
        """Return an event about the answer's text."""
        return self.event(
            f"response.output_text.{kind}",
            **(self._place() | {"content_index": 0, "logprobs": []} | words),
        )

    def event(self, name: str, **data: Any) -> str:
        """Return one event with its number."""
        return event({"type": name, "sequence_number": next(self.numbers), **data}, name)

    def _item_event(self, kind: str, item: dict[str, Any]) -> str:
        return self.event(f"response.output_item.{kind}", output_index=0, item=item)

    def _part_event(self, kind: str, text: str) -> str:
        where = self._place() | {"content_index": 0}
        return self.event(f"response.content_part.{kind}", **where, part=_part(text))

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.message_id, "output_index": 0}

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        asked = self.asked
        given = asked.text.format if asked.text else None
        shown = given.model_dump(by_alias=True, exclude_none=True) if given else {"type": "text"}
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "completed_at": None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "metadata": asked.metadata or {},
            "model": asked.model,
            "output": output,
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": asked.temperature,
            "text": {"format": shown},
            "tool_choice": "auto",
            "tools": [],
            "top_p": asked.top_p,
            "truncation": "disabled",
            "usage": None,
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
