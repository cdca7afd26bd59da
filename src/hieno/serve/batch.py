"""Many prompts without a server: evaluation hears exactly what the endpoint will say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hieno.config import Serve
from hieno.errors import BadData, HienoError
from hieno.package.layout import weights_folder
from hieno.serve.answer import Completion, complete
from hieno.serve.engines import Engine, Sampling
from hieno.serve.engines.choice import open_engine
from hieno.serve.model import Model, read_model
from hieno.templates import load_tokenizer, render_prompt

Progress = Callable[[int, int], None]


def answer_chats(
    root: Path,
    chats: Iterable[Sequence[Mapping[str, str]]],
    *,
    max_new_tokens: int,
    engine: str = "auto",
    weights: str = "auto",
    settings: Serve | None = None,
    on_progress: Progress | None = None,
) -> list[Completion]:
    """Say how the model goes on with each conversation, taking the likeliest token each time.

    A conversation is a list of messages that ends where the model's turn begins. Raises what
    `generate_all` raises.
    """
    tokenizer = load_tokenizer(weights_folder(root))
    prompts = [render_prompt(tokenizer, [dict(message) for message in chat]) for chat in chats]
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0)
    return generate_all(
        root,
        prompts,
        sampling,
        engine=engine,
        weights=weights,
        settings=settings,
        on_progress=on_progress,
    )


def generate_all(
    root: Path,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    engine: str = "auto",
    weights: str = "auto",
    settings: Serve | None = None,
    on_progress: Progress | None = None,
) -> list[Completion]:
    """Answer every prompt with the engine that would serve the package, in the prompts' order.

    All run at the same time, as far as `settings.max_requests` allows. `on_progress` is called
    with (done, total), first with 0 when the engine has been loaded. An answer is shortened where
    the context ends; a prompt that leaves no room at all raises `BadData` before any work. May not
    be called from a running event loop.
    """
    settings = settings or Serve()
    model = read_model(root, settings)
    for number, prompt in enumerate(prompts):
        if not 0 < len(prompt) < model.context:
            raise BadData(
                f"prompt {number} has {len(prompt)} tokens; the context is {model.context}",
                hint="leave out rows that are empty or longer than the model can read",
            )
    if not prompts:
        return []
    opened = open_engine(root, name=engine, weights=weights, settings=settings, model=model)
    try:
        if on_progress is not None:
            on_progress(0, len(prompts))
        return asyncio.run(
            _answer_all(opened, model, prompts, sampling, settings.max_requests, on_progress)
        )
    finally:
        opened.close()


async def _answer_all(
    engine: Engine,
    model: Model,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    in_flight: int,
    on_progress: Progress | None,
) -> list[Completion]:
    places = asyncio.Semaphore(in_flight)
    done = 0

    async def answer(prompt: Sequence[int]) -> Completion:
        nonlocal done
        room = min(sampling.max_new_tokens, model.context - len(prompt))
        async with places:
            completion = await complete(
                engine, model, prompt, replace(sampling, max_new_tokens=room)
            )
        done += 1
        if on_progress is not None:
            on_progress(done, len(prompts))
        return completion

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer(prompt)) for prompt in prompts]
    except* HienoError as several:
        failure = next(_leaves(several))
    else:
        return [task.result() for task in tasks]
    raise failure


def _leaves(group: BaseExceptionGroup[HienoError]) -> Iterator[HienoError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
