"""Chats as token ids: for training with what is supervised, and as the prompt of a next reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from hieno.templates.families import TemplateFamily, family, special_tokens
from hieno.templates.rendering import Fragment, Message, render
from hieno.templates.vocabulary import Vocabulary, encode, take_apart

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class TrainingTokens:
    """A chat to learn from: the loss counts where `supervised` (replies and their stop token)."""

    input_ids: list[int]
    supervised: list[bool]


@dataclass(frozen=True)
class _Prepared:
    state: tuple[str, int]
    family: TemplateFamily
    vocabulary: Vocabulary
    special: dict[str, str]


_prepared: WeakKeyDictionary[PreTrainedTokenizerFast, _Prepared] = WeakKeyDictionary()


def render_training(
    tokenizer: PreTrainedTokenizerFast, messages: Sequence[Message]
) -> TrainingTokens:
    """Return a whole chat as token ids, with each assistant message and its stop supervised.

    Text that looks like a control token is encoded as text wherever a message contains it.
    """
    prepared = _prepare(tokenizer)
    return TrainingTokens(*encode(_render(prepared, messages, prompt=False), prepared.vocabulary))


def render_prompt(tokenizer: PreTrainedTokenizerFast, messages: Sequence[Message]) -> list[int]:
    """Return the token ids that ask for the next reply, encoded as in training."""
    prepared = _prepare(tokenizer)
    ids, _ = encode(_render(prepared, messages, prompt=True), prepared.vocabulary)
    return ids


def encode_text(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Return a text's token ids without a template; what looks like a control token stays text."""
    words = Fragment(text, content=True, supervised=False)
    ids, _ = encode([words], _prepare(tokenizer).vocabulary)
    return ids


def _render(
    prepared: _Prepared, messages: Sequence[Message], *, prompt: bool
) -> tuple[Fragment, ...]:
    return render(prepared.family.template, messages, special=prepared.special, prompt=prompt)


def _prepare(tokenizer: PreTrainedTokenizerFast) -> _Prepared:
    state = (str(tokenizer.chat_template), len(tokenizer))
    found = _prepared.get(tokenizer)
    if found is None or found.state != state:
        found = _Prepared(
            state, family(tokenizer), take_apart(tokenizer), special_tokens(tokenizer)
        )
        _prepared[tokenizer] = found
    return found
