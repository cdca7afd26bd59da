"""`POST /v1/chat/completions`: the reply to a conversation, whole or as chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any  # JSON objects have no narrower type that mypy can check

from hieno.serve.answer import complete, pieces
from hieno.serve.answer_format import json_schema
from hieno.serve.chat_request import ChatRequest
from hieno.serve.engines import EngineFailed, Sampling
from hieno.serve.envelope import envelope, usage
from hieno.serve.messages import plain
from hieno.serve.parameters import sampling_of
from hieno.serve.refusals import Refused, error_object
from hieno.serve.service import Service
from hieno.serve.sse import event


async def whole(service: Service, chat: ChatRequest) -> dict[str, Any]:
    """Return the whole answer."""
    with service.slots.take():
        prompt, sampling = await _prepare(service, chat)
        answer = await complete(service.engine, service.model, prompt, sampling)
    return envelope(service, chat.model, "chat.completion", prefix="chatcmpl") | {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "logprobs": None,
                "finish_reason": answer.finish_reason,
            }
        ],
        "usage": usage(len(prompt), answer.generated),
    }


async def stream(service: Service, chat: ChatRequest) -> AsyncGenerator[str, None]:
    """Yield the answer as events."""
    with service.slots.take():
        prompt, sampling = await _prepare(service, chat)
        around = envelope(service, chat.model, "chat.completion.chunk", prefix="chatcmpl")
        with_usage = chat.stream_options is not None and chat.stream_options.include_usage
        if with_usage:
            around["usage"] = None
        generated = 0
        try:
            answer = pieces(service.engine, service.model, prompt, sampling)
            async with aclosing(answer):
                first = {"role": "assistant", "content": "", "refusal": None}
                yield event(around | {"choices": [_delta(first)]})
                async for piece in answer:
                    generated += len(piece.token_ids)
                    if piece.text:
                        yield event(around | {"choices": [_delta({"content": piece.text})]})
                    if piece.finish:
                        yield event(around | {"choices": [_delta({}, piece.finish)]})
        except EngineFailed as error:
            yield event(error_object(Refused(500, error.message, "engine_failed")))
            return
        if with_usage:
            yield event(around | {"choices": [], "usage": usage(len(prompt), generated)})
        yield "data: [DONE]\n\n"


async def _prepare(service: Service, chat: ChatRequest) -> tuple[list[int], Sampling]:
    schema = _schema(service, chat)
    prompt = await service.prompt(plain(chat.messages, param="messages"), param="messages")
    wanted, asked_by = chat.wanted_tokens
    return prompt, sampling_of(chat, service.room(prompt, wanted, param=asked_by), schema)


def _schema(service: Service, chat: ChatRequest) -> str | None:
    wanted = chat.response_format
    if wanted is None:
        return None
    schema = json_schema(
        wanted.type,
        None if wanted.json_schema is None else wanted.json_schema.schema_,
        param="response_format",
        place="response_format.json_schema",
        constrains=service.engine.constrains,
    )
    if schema is not None and chat.ignore_eos:
        words = "'ignore_eos' cannot go on after the end of a JSON answer."
        raise Refused(400, words, "invalid_value", "ignore_eos")
    return schema


def _delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
