"""The routes under `/v1` that OpenAI's clients call."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any, TypeVar  # Any: JSON objects have no narrower type that mypy can check

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from hieno.serve import chat_completions, completions, responses
from hieno.serve.admission import unless_gone
from hieno.serve.body import read_json
from hieno.serve.chat_request import ChatRequest, read_chat_request
from hieno.serve.completion_request import CompletionRequest, read_completion_request
from hieno.serve.openapi import openapi
from hieno.serve.refusals import Refused
from hieno.serve.responses_request import ResponsesRequest, read_responses_request
from hieno.serve.service import Service
from hieno.serve.sse import event_stream

Asked = TypeVar("Asked", ChatRequest, CompletionRequest, ResponsesRequest)


def openai_routes(service: Service) -> APIRouter:
    """Return the routes for one loaded model."""
    router = APIRouter(prefix="/v1")
    created = int(time.time())

    # Below /v1 and not at the root, so that a gateway passes it on like everything else.
    @router.get("/openapi.json")
    async def description() -> Response:
        return JSONResponse(openapi(service))

    @router.get("/models")
    async def models() -> Response:
        shown = [_model_object(name, created) for name in service.names]
        return JSONResponse({"object": "list", "data": shown})

    @router.get("/models/{name}")
    async def one_model(name: str) -> Response:
        _check_model(service, name)
        return JSONResponse(_model_object(name, created))

    @router.post("/chat/completions")
    async def chat_completion(request: Request) -> Response:
        kind = chat_completions.whole, chat_completions.stream
        return await _answered(service, request, read_chat_request, *kind)

    @router.post("/completions")
    async def completion(request: Request) -> Response:
        kind = completions.whole, completions.stream
        return await _answered(service, request, read_completion_request, *kind)

    @router.post("/responses")
    async def response(request: Request) -> Response:
        kind = responses.whole, responses.stream
        return await _answered(service, request, read_responses_request, *kind)

    return router


async def _answered(
    service: Service,
    request: Request,
    read: Callable[[Mapping[str, Any]], Asked],
    whole: Callable[[Service, Asked], Coroutine[Any, Any, dict[str, Any]]],
    stream: Callable[[Service, Asked], AsyncGenerator[str, None]],
) -> Response:
    """Answer one kind of request, whole or as a stream."""
    asked = read(await read_json(request))
    _check_model(service, asked.model)
    if asked.stream:
        return await event_stream(request, stream(service, asked))
    return JSONResponse(await unless_gone(request, whole(service, asked)))


def _model_object(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "hieno"}


def _check_model(service: Service, name: str) -> None:
    if name not in service.names:
        raise Refused(404, f"The model '{name[:64]}' does not exist.", "model_not_found", "model")
