"""The proof that training and serving see the same tokens and that replies learn to stop."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hieno.errors import BadData, ConfigError
from hieno.templates.rendering import Message, learnt
from hieno.templates.tokenizer import stop_ids
from hieno.templates.tokens import TrainingTokens, render_prompt, render_training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def prove(
    tokenizer: PreTrainedTokenizerFast,
    conversations: Iterable[Sequence[Message]],
    *,
    stops: Collection[int] | None = None,
) -> int:
    """Check every assistant turn of every chat; return how many turns were checked.

    The training ids before a reply must be the ids of its prompt; the reply must be supervised
    and end in a token of `stops` (default: generation_config.json of the tokenizer's folder).
    Raises `ConfigError` for a template that fails, `BadData` for a chat with nothing to learn or
    nothing but replies; both name the chat by its number from 0.
    """
    known = frozenset(stop_ids(Path(tokenizer.name_or_path)) if stops is None else stops)
    turns = 0
    for number, messages in enumerate(conversations):
        tokens = render_training(tokenizer, messages)
        _refuse_one_sided(tokens, number)
        for turn, message in enumerate(messages):
            if message["role"] == "assistant" and learnt(message):
                prompt = render_prompt(tokenizer, messages[:turn])
                _check_turn(tokens, prompt, known, f"conversation {number}, messages[{turn}]")
                turns += 1
    return turns


def _refuse_one_sided(tokens: TrainingTokens, number: int) -> None:
    share = sum(tokens.supervised) / max(1, len(tokens.supervised))
    if share in (0, 1):
        raise BadData(
            f"conversation {number}: {share:.0%} of its {len(tokens.input_ids)} tokens would be"
            " learnt",
            hint="a chat to learn from has a question and at least one assistant message",
        )


def _check_turn(
    tokens: TrainingTokens, prompt: list[int], stops: frozenset[int], where: str
) -> None:
    start = len(prompt)
    if tokens.input_ids[:start] != prompt:
        raise ConfigError(
            f"{where}: what training shows before the reply is not the prompt of serving",
            hint="correct chat_template.jinja: the text before a reply must not depend on it",
        )
    end = next(
        (place for place in range(start, len(tokens.supervised)) if not tokens.supervised[place]),
        len(tokens.supervised),
    )
    if end == start:
        raise ConfigError(
            f"{where}: the reply is not supervised",
            hint="put {% generation %} around the whole reply in chat_template.jinja",
        )
    if tokens.input_ids[end - 1] not in stops:
        raise ConfigError(
            f"{where}: the reply ends in token {tokens.input_ids[end - 1]}, which does not stop the"
            f" model (generation_config.json stops at {sorted(stops)})",
            hint="add that token to eos_token_id in generation_config.json, or put it inside"
            " {% generation %} in chat_template.jinja",
        )
