"""The routes under `/v1` that OpenAI's clients call."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any  # JSON objects have no narrower type that mypy can check

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from hieno.serve.admission import unless_gone
from hieno.serve.answer import complete, pieces
from hieno.serve.body import read_json
from hieno.serve.chat_request import ChatRequest, read_chat_request
from hieno.serve.engines import EngineFailed, Sampling
from hieno.serve.messages import plain
from hieno.serve.refusals import Refused, error_object
from hieno.serve.service import Service
from hieno.serve.sse import event, event_stream


def openai_routes(service: Service) -> APIRouter:
    """Return the routes for one loaded model."""
    router = APIRouter(prefix="/v1")
    created = int(time.time())

    @router.get("/models")
    async def models() -> Response:
        shown = [_model_object(name, created) for name in service.names]
        return JSONResponse({"object": "list", "data": shown})

    @router.get("/models/{name}")
    async def one_model(name: str) -> Response:
        _check_model(service, name)
        return JSONResponse(_model_object(name, created))

    @router.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        chat = read_chat_request(await read_json(request))
        _check_model(service, chat.model)
        if chat.stream:
            return await event_stream(request, _stream(service, chat))
        return JSONResponse(await unless_gone(request, _whole(service, chat)))

    return router


def _model_object(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "hieno"}


def _check_model(service: Service, name: str) -> None:
    if name not in service.names:
        raise Refused(404, f"The model '{name[:64]}' does not exist.", "model_not_found", "model")


async def _whole(service: Service, chat: ChatRequest) -> dict[str, Any]:
    with service.slots.take():
        prompt, sampling = await _prepare(service, chat)
        answer = await complete(service.engine, service.model, prompt, sampling)
    return _envelope(service, chat, "chat.completion") | {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "logprobs": None,
                "finish_reason": answer.finish_reason,
            }
        ],
        "usage": _usage(len(prompt), answer.generated),
    }


async def _stream(service: Service, chat: ChatRequest) -> AsyncGenerator[str, None]:
    with service.slots.take():
        prompt, sampling = await _prepare(service, chat)
        envelope = _envelope(service, chat, "chat.completion.chunk")
        with_usage = chat.stream_options is not None and chat.stream_options.include_usage
        if with_usage:
            envelope["usage"] = None
        generated = 0
        try:
            answer = pieces(service.engine, service.model, prompt, sampling)
            async with aclosing(answer):
                first = {"role": "assistant", "content": "", "refusal": None}
                yield event(envelope | {"choices": [_delta(first)]})
                async for piece in answer:
                    generated += len(piece.token_ids)
                    if piece.text:
                        yield event(envelope | {"choices": [_delta({"content": piece.text})]})
                    if piece.finish:
                        yield event(envelope | {"choices": [_delta({}, piece.finish)]})
        except EngineFailed as error:
            yield event(error_object(Refused(500, error.message, "engine_failed")))
            return
        if with_usage:
            yield event(envelope | {"choices": [], "usage": _usage(len(prompt), generated)})
        yield "data: [DONE]\n\n"


async def _prepare(service: Service, chat: ChatRequest) -> tuple[list[int], Sampling]:
    prompt = await service.prompt(plain(chat.messages, param="messages"), param="messages")
    wanted, asked_by = chat.wanted_tokens
    return prompt, chat.sampling(service.room(prompt, wanted, param=asked_by))


def _envelope(service: Service, chat: ChatRequest, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": chat.model,
        "system_fingerprint": f"hieno_{service.engine.name}",
    }


def _delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
