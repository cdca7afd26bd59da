"""A chat measured in the tokens of the project's own model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: a row of JSONL

from hieno.errors import BadData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# A chat of so many characters is over every limit, and its template would refuse it.
MOST_CHARACTERS = 3_500_000


@dataclass(frozen=True)
class Ruler:
    """A tokenizer with its limit in tokens, and the tokens that a text must not hold."""

    tokenizer: PreTrainedTokenizerFast
    max_length: int
    control: re.Pattern[str] | None


@dataclass(frozen=True)
class Length:
    """How many tokens a chat has and how many of them are supervised."""

    tokens: int
    supervised: int


def open_ruler(folder: Path, max_length: int) -> Ruler:
    """Load the tokenizer of a model folder."""
    from hieno.templates import load_tokenizer

    tokenizer = load_tokenizer(folder)
    found = sorted(_template_tokens(tokenizer, folder), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, found))) if found else None
    return Ruler(tokenizer, max_length, pattern)


def measure(ruler: Ruler, row: dict[str, Any]) -> Length | tuple[str, str]:
    """Return a chat's length, or the code and the problem of one that cannot be learnt from."""
    from hieno.templates import render_training

    messages = row["messages"]
    for index, message in enumerate(messages):
        if ruler.control and (token := ruler.control.search(message["content"])):
            return "control-token", f"messages[{index}].content holds {token[0]}"
    characters = sum(len(message["content"]) for message in messages)
    if characters > MOST_CHARACTERS:
        return "too-long", f"{characters} characters, over {MOST_CHARACTERS}"
    try:
        tokens = render_training(ruler.tokenizer, messages)
    except BadData as error:
        return "not-shown", error.message
    if len(tokens.input_ids) > ruler.max_length:
        problem = f"{len(tokens.input_ids)} tokens, over train.max_length = {ruler.max_length}"
        return "too-long", problem
    return Length(len(tokens.input_ids), sum(tokens.supervised))


def _template_tokens(tokenizer: PreTrainedTokenizerFast, folder: Path) -> set[str]:
    """Return the control tokens that the template writes, and those that end a reply."""
    from hieno.templates import family, stop_ids
    from hieno.templates.families import PROBES, special_tokens
    from hieno.templates.rendering import render

    controls = {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.content.strip() and token.special
    }
    template, special = family(tokenizer).template, special_tokens(tokenizer)
    texts = [
        fragment.text
        for probe in PROBES[:5]
        for fragment in render(template, probe, special=special, prompt=False)
        if not fragment.content
    ]
    written = {token for token in controls if any(token in text for text in texts)}
    ends = {str(tokenizer.convert_ids_to_tokens(number)) for number in stop_ids(folder)}
    return written | (ends & controls)
