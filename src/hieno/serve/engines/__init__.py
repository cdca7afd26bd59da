"""The seam between HTTP and the model: prompt tokens in, answer tokens out, one at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hieno.errors import HienoError

Finish = Literal["stop", "length"]
_COLDEST = 1e-5
_NARROWEST = 1e-6  # the likeliest of any vocabulary's tokens has a larger share


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; `temperature` 0 is greedy, `top_k` 0 is every token.

    Engines ignore `stop` (strings): only the text layer can see them. `json_schema` is for those
    that constrain (`Engine.constrains`): the answer is JSON that follows it.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    json_schema: str | None = None

    @property
    def greedy(self) -> bool:
        """Tell whether the likeliest token is always taken."""
        return self.temperature < _COLDEST or self.top_p < _NARROWEST or self.top_k == 1


@dataclass(frozen=True)
class Token:
    """One generated token; the last one of an answer says why it is the last."""

    id: int
    finish: Finish | None = None


class EngineFailed(HienoError):
    """The engine could not finish an answer; the request itself was in order."""


class Engine(Protocol):
    """A loaded model that answers many prompts at the same time."""

    name: str
    constrains: bool

    def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Token, None]:
        """Yield the answer's tokens; closing the iterator early frees its slot."""
        ...

    def healthy(self) -> bool:
        """Tell whether the engine can still answer."""
        ...

    def close(self) -> None:
        """End the engine and free its memory."""
        ...
