"""`POST /v1/completions`: how the model goes on from a text, whole or as chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any  # JSON objects have no narrower type that mypy can check

from hieno.serve.answer import Completion, complete, pieces
from hieno.serve.completion_request import DEFAULT_TOKENS, CompletionRequest, Prompt
from hieno.serve.engines import EngineFailed, Sampling
from hieno.serve.envelope import envelope, usage
from hieno.serve.parameters import sampling_of
from hieno.serve.refusals import Refused, error_object
from hieno.serve.service import Service
from hieno.serve.sse import event


async def whole(service: Service, asked: CompletionRequest) -> dict[str, Any]:
    """Return one choice for each prompt, in their order."""
    prompts = asked.prompts(service.settings.max_requests)
    with service.slots.take(len(prompts)):
        prepared = [await _prepare(service, asked, prompt) for prompt in prompts]
        answers = await _answers(service, prepared)
    choices = [_choice(a.text, a.finish_reason, i) for i, a in enumerate(answers)]
    counts = sum(len(ids) for ids, _ in prepared), sum(answer.generated for answer in answers)
    around = envelope(service, asked.model, "text_completion", prefix="cmpl")
    return around | {"choices": choices, "usage": usage(*counts)}


async def stream(service: Service, asked: CompletionRequest) -> AsyncGenerator[str, None]:
    """Yield how one prompt goes on, as events."""
    [prompt] = asked.prompts(service.settings.max_requests)
    with service.slots.take():
        ids, sampling = await _prepare(service, asked, prompt)
        around = envelope(service, asked.model, "text_completion", prefix="cmpl")
        with_usage = asked.stream_options is not None and asked.stream_options.include_usage
        if with_usage:
            around["usage"] = None
        generated = 0
        try:
            answer = pieces(service.engine, service.model, ids, sampling, going_on=True)
            async with aclosing(answer):
                async for piece in answer:
                    generated += len(piece.token_ids)
                    yield event(around | {"choices": [_choice(piece.text, piece.finish)]})
        except EngineFailed as error:
            yield event(error_object(Refused(500, error.message, "engine_failed")))
            return
        if with_usage:
            yield event(around | {"choices": [], "usage": usage(len(ids), generated)})
        yield "data: [DONE]\n\n"


async def _answers(
    service: Service, prepared: list[tuple[list[int], Sampling]]
) -> list[Completion]:
    failure: Exception
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    complete(service.engine, service.model, ids, sampling, going_on=True)
                )
                for ids, sampling in prepared
            ]
        return [task.result() for task in tasks]
    except* EngineFailed as several:
        failure = several.exceptions[0]  # a raise in here would be put into a group again
    raise failure


async def _prepare(
    service: Service, asked: CompletionRequest, prompt: Prompt
) -> tuple[list[int], Sampling]:
    if isinstance(prompt, str):
        ids = await service.text(prompt, param="prompt")
    else:
        ids = prompt
        size = len(service.model.tokenizer)
        if not all(0 <= each < size for each in ids):
            words = f"'prompt' has a token id that is not from 0 to {size - 1}."
            raise Refused(400, words, "invalid_value", "prompt")
        service.check_length(ids, "prompt", param="prompt")
    room = service.room(ids, asked.max_tokens, param="max_tokens", what="prompt")
    return ids, sampling_of(asked, min(room, asked.max_tokens or DEFAULT_TOKENS))


def _choice(text: str, finish: str | None, index: int = 0) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
