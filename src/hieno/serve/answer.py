"""A prompt's answer as text: what every route and the offline helper send through the engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from hieno.serve.detokenise import Detokeniser, StopStrings
from hieno.serve.engines import Engine, Finish, Sampling
from hieno.serve.model import Model

_SEEN_BEFORE = 4


@dataclass(frozen=True)
class Piece:
    """Some text of an answer; the last piece (perhaps empty) says why it is the last."""

    text: str
    token_ids: tuple[int, ...]
    finish: Finish | None = None


@dataclass(frozen=True)
class Completion:
    """A whole answer; `token_ids` holds what the model generated without its stop token."""

    token_ids: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: Finish = "stop"
    generated: int = 0


async def pieces(
    engine: Engine,
    model: Model,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    going_on: bool = False,
) -> AsyncGenerator[Piece, None]:
    """Yield the answer's text as it becomes certain; close it early to free the slot.

    `going_on` says that the answer continues the prompt's own text instead of replying to it.
    """
    before = prompt[-_SEEN_BEFORE:] if going_on else ()
    detokeniser, stops = Detokeniser(model.tokenizer, before), StopStrings(sampling.stop)
    waiting: list[int] = []
    async with aclosing(engine.generate(prompt, sampling)) as tokens:
        async for token in tokens:
            waiting.append(token.id)
            ended_by_model = token.finish == "stop"
            text = "" if ended_by_model else stops.push(detokeniser.push(token.id))
            if token.finish is not None and not stops.found:
                text += stops.push(detokeniser.finish())
                text += "" if stops.found else stops.finish()
            finish: Finish | None = "stop" if stops.found else token.finish
            if text or finish:
                yield Piece(text, tuple(waiting), finish)
                waiting.clear()
            if finish:
                return


async def complete(
    engine: Engine,
    model: Model,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    going_on: bool = False,
) -> Completion:
    """Return the whole answer (see `pieces`)."""
    text: list[str] = []
    ids: list[int] = []
    finish: Finish = "stop"
    stream = pieces(engine, model, prompt, sampling, going_on=going_on)
    async with aclosing(stream):
        async for piece in stream:
            text.append(piece.text)
            ids.extend(piece.token_ids)
            finish = piece.finish or finish
    generated = len(ids)
    if not sampling.ignore_eos and ids and ids[-1] in model.stop_ids:
        ids.pop()
    return Completion(ids, "".join(text), finish, generated)
