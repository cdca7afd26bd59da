"""`POST /score`, as Azure's MLflow deployments take it, but with `params` honoured.

Contract: Azure ML's inference server and MLflow scoring script (2026), LLM path. Where those drop
or misread a field, this answers 400 and names it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any  # a body's values have any type until they are checked

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from hieno.serve.admission import unless_gone
from hieno.serve.answer import complete, pieces
from hieno.serve.body import read_json
from hieno.serve.engines import EngineFailed, Sampling
from hieno.serve.messages import Conversation, plain
from hieno.serve.parameters import (
    Penalty,
    Seed,
    Stop,
    Temperature,
    Tokens,
    TopK,
    TopP,
    sampling_of,
)
from hieno.serve.refusals import UNEXPECTED, Refused, from_validation
from hieno.serve.service import Service
from hieno.serve.sse import event, event_stream

_NO_INPUT = "A value is not provided for the 'input_data' parameter."
_conversation: TypeAdapter[Any] = TypeAdapter(Conversation)


class ScoreParams(BaseModel):
    """The parameters of a text-generation pipeline that are honoured here."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_new_tokens: Tokens | None = None
    do_sample: bool | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    repetition_penalty: Penalty | None = None
    return_full_text: bool = False
    seed: Seed | None = None
    stop: Stop | None = None
    ignore_eos: bool = False

    def sampling(self, max_new_tokens: int) -> Sampling:
        """Return how to choose tokens; a temperature alone asks for sampling as well."""
        asked = self.do_sample
        sample = bool(self.temperature) if asked is None else asked
        temperature = 1.0 if self.temperature is None else self.temperature
        chosen = temperature if sample else 0.0
        return replace(sampling_of(self, max_new_tokens), temperature=chosen)


def score_routes(service: Service) -> APIRouter:
    """Return `/score` for one loaded model."""
    router = APIRouter()

    @router.post("/score")
    async def score(request: Request) -> Response:
        body = await read_json(request)
        params, inputs = _read(service, body)
        if "text/event-stream" in request.headers.get("accept", ""):
            if len(inputs) != 1:
                raise Refused(
                    400, f"A stream answers exactly one input; 'input_data' has {len(inputs)}."
                )
            headers = {"x-ms-run-function-failed": "False"}
            return await event_stream(request, _stream(service, params, inputs[0]), headers)
        started = time.perf_counter()
        answers = await unless_gone(request, _answers(service, params, inputs))
        milliseconds = f"{(time.perf_counter() - started) * 1000:.3f}"
        return JSONResponse(
            answers,
            headers={
                "x-ms-run-function-failed": "False",
                "x-ms-run-fn-exec-ms": milliseconds,
            },
        )

    return router


Input = tuple[str, list[dict[str, str]]]


def _read(service: Service, body: Mapping[str, Any]) -> tuple[ScoreParams, list[Input]]:
    """Return the parameters and, for each input, its place and its conversation."""
    if body.get("input_data") is None:
        raise Refused(400, _NO_INPUT)
    for name in body:
        if name not in ("input_data", "params"):
            raise Refused(400, f"Unknown field '{name[:64]}'; fields are input_data and params.")
    if not isinstance(body.get("params", {}), dict):
        raise Refused(400, "'params' must be an object.", "invalid_value", "params")
    try:
        params = ScoreParams.model_validate(body.get("params", {}))
    except ValidationError as error:
        raise _prefixed(from_validation(error), "params") from None
    return params, _inputs(body["input_data"], service.settings.max_requests)


def _inputs(data: Any, most: int) -> list[Input]:
    if not isinstance(data, list) or not data:
        raise Refused(
            400, "'input_data' must be a list of texts or of conversations, and not an empty one."
        )
    if len(data) > most:
        raise Refused(400, f"'input_data' has {len(data)} inputs; at most {most} are answered.")
    return [(f"input_data[{i}]", _messages(value, i)) for i, value in enumerate(data)]


def _messages(value: Any, number: int) -> list[dict[str, str]]:
    where = f"input_data[{number}]"
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, dict) and "role" in value:
        raise Refused(
            400, f"'{where}' is a message: put the conversation into a list, [[{{...}}, {{...}}]]."
        )
    if not isinstance(value, list):
        raise Refused(400, f"'{where}' must be a text or a list of messages.")
    try:
        conversation = _conversation.validate_python(value, strict=True)
    except ValidationError as error:
        raise _prefixed(from_validation(error), where) from None
    return plain(conversation, param=where)


def _prefixed(refused: Refused, where: str) -> Refused:
    """Say where in the body the wrong field stands."""
    inner = refused.param or ""
    outer = where + (f".{inner}" if inner and not inner.startswith("[") else inner)
    message = refused.message.replace(f"'{inner}'", f"'{outer}'", 1)
    return Refused(refused.status, message, refused.code, outer)


async def _answers(service: Service, params: ScoreParams, inputs: list[Input]) -> list[str]:
    with service.slots.take(len(inputs)):
        prepared = [await _prepare(service, params, each) for each in inputs]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(complete(service.engine, service.model, prompt, sampling))
                for prompt, sampling in prepared
            ]
    texts = [task.result().text for task in tasks]
    if not params.return_full_text:
        return texts
    return [
        _shown(service, each[1], prompt) + text
        for each, (prompt, _), text in zip(inputs, prepared, texts, strict=True)
    ]


async def _stream(service: Service, params: ScoreParams, one: Input) -> AsyncGenerator[str, None]:
    with service.slots.take():
        prompt, sampling = await _prepare(service, params, one)
        if params.return_full_text:
            yield event({"answer": _shown(service, one[1], prompt)})
        try:
            async with aclosing(pieces(service.engine, service.model, prompt, sampling)) as answer:
                async for piece in answer:
                    if piece.text or piece.finish:
                        yield event({"answer": piece.text})
        except EngineFailed:
            yield event({"error": {"message": UNEXPECTED}})


async def _prepare(service: Service, params: ScoreParams, one: Input) -> tuple[list[int], Sampling]:
    where, messages = one
    prompt = await service.prompt(messages, param=where)
    room = service.room(prompt, params.max_new_tokens, param="params.max_new_tokens")
    return prompt, params.sampling(room)


def _shown(service: Service, messages: list[dict[str, str]], prompt: list[int]) -> str:
    """Return the text before the answer: a lone question as it came, else the whole prompt."""
    if len(messages) == 1:
        return messages[0]["content"]
    text: str = service.model.tokenizer.decode(prompt)
    return text
