"""What every route needs: the model, the engine, the limits; and prompts that fit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hieno import templates
from hieno.config import Serve
from hieno.errors import UserError
from hieno.serve.admission import Slots
from hieno.serve.engines import Engine
from hieno.serve.model import Model
from hieno.serve.refusals import Refused


@dataclass
class Service:
    """One loaded model on its way through HTTP; `names` are what requests may call it.

    `headers` go out with every answer: they say which version, of which data, spoke.
    """

    engine: Engine
    model: Model
    settings: Serve
    names: tuple[str, ...]
    headers: Mapping[str, str]
    slots: Slots
    stopping: bool = False
    tokenising: asyncio.Lock = field(default_factory=asyncio.Lock)

    def ready(self) -> bool:
        """Tell whether a new request would be answered."""
        return self.engine.healthy() and not self.stopping

    async def prompt(self, messages: Sequence[Mapping[str, str]], *, param: str) -> list[int]:
        """Render a conversation; a 400 says why it cannot be one."""
        try:
            # A long conversation takes long: not on the thread on which all answers flow.
            async with self.tokenising:
                ids = await asyncio.to_thread(
                    templates.render_prompt, self.model.tokenizer, [dict(m) for m in messages]
                )
        except UserError as error:
            raise Refused(400, error.message, "invalid_value", param) from None
        self.check_length(ids, "conversation", param=param)
        return ids

    async def text(self, text: str, *, param: str) -> list[int]:
        """Return the tokens of a text without a template; a 400 says where it is too long."""
        async with self.tokenising:
            ids = await asyncio.to_thread(templates.encode_text, self.model.tokenizer, text)
        self.check_length(ids, "prompt", param=param)
        return ids

    def check_length(self, ids: Sequence[int], what: str, *, param: str) -> None:
        """Refuse a prompt that leaves no room for an answer."""
        if len(ids) >= self.model.context:
            raise _too_long(f"The {what} has {len(ids)} tokens", self.model.context, param)

    def room(
        self, prompt: Sequence[int], wanted: int | None, *, param: str, what: str = "conversation"
    ) -> int:
        """Return the most tokens an answer may have; refuse a wish that cannot be met."""
        free = self.model.context - len(prompt)
        most = self.settings.max_new_tokens
        if wanted is None:
            return min(most, free)
        if wanted > most:
            raise Refused(
                400, f"'{param}' is {wanted}; at most {most} are served.", "invalid_value", param
            )
        if wanted > free:
            words = f"The {what} has {len(prompt)} tokens and '{param}' asks for {wanted}"
            raise _too_long(words, self.model.context, param)
        return wanted


def _too_long(words: str, context: int, param: str) -> Refused:
    return Refused(
        400, f"{words}; the model's context is {context}.", "context_length_exceeded", param
    )
