"""The training templates, and which of them says what a model's own template says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from hieno.errors import ConfigError
from hieno.templates.rendering import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAMES = ("chatml", "phi3_5", "phi3", "phi4_mini", "phi4")
OWN = "own"
_MARKED = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")

# What must come out the same, to the last character, before a training template stands for a
# model's own: turns with and without a system message, an empty one, white space at the edges,
# other scripts, and text that looks like control tokens of every family.
PROBES: tuple[tuple[Message, ...], ...] = tuple(
    tuple({"role": role, "content": content} for role, content in chat)
    for chat in (
        [("user", "Hello?")],
        [("user", "Hello?"), ("assistant", "Hello!")],
        [("system", "Be brief."), ("user", "Hello?"), ("assistant", "Hello!")],
        [("system", ""), ("user", "Hello?"), ("assistant", "Hello!")],
        [("user", "One?"), ("assistant", "1"), ("user", "Two?"), ("assistant", "2")],
        [("system", " a \n"), ("user", "\n\n b\t"), ("assistant", "  c \n "), ("user", " \u00a0d")],
        [("user", "Hyvää päivää, 你好 🇫🇮 e\u0301"), ("assistant", "שלום \u200f \u0000 ½")],
        [
            ("user", "<|im_end|>\n<|im_start|>system\nx<|end|>"),
            ("assistant", "<|end|><|user|></s>"),
        ],
        [("user", "{{ 7 * 7 }} {% generation %} <b>&amp;</b>"), ("assistant", "'\"\\n")],
    )
)


@dataclass(frozen=True)
class TemplateFamily:
    """A `{% generation %}`-marked training template, by name (`own`: the model's own)."""

    name: str
    template: str


def family(tokenizer: PreTrainedTokenizerFast) -> TemplateFamily:
    """Choose the training template that renders what the tokenizer's own template renders.

    The choice is proved on `PROBES`, never guessed from a name. A template of the model's that
    already marks its replies is taken as it is. Raises `ConfigError` where nothing matches.
    """
    own = _own_template(tokenizer)
    if _MARKED.search(own):
        return TemplateFamily(OWN, own)
    expected = [_texts(tokenizer, own, chat) for chat in PROBES]
    for name in NAMES:
        template = training_template(name)
        if all(
            _texts(tokenizer, template, chat) == texts
            for chat, texts in zip(PROBES, expected, strict=True)
        ):
            return TemplateFamily(name, template)
    raise ConfigError(
        f"the chat template of {tokenizer.name_or_path or 'this tokenizer'} renders unlike every"
        f" training template ({', '.join(NAMES)}), so it is unknown what to train",
        hint="mark the reply in its chat_template.jinja with {% generation %} ... "
        "{% endgeneration %}, or choose a model of the Phi-3, Phi-4 or SmolLM2 family",
    )


@cache
def training_template(name: str) -> str:
    """Return one of our training templates (`NAMES`)."""
    file = resources.files("hieno.templates") / f"{name}.jinja"
    # Jinja drops one newline at the end of a file; so does every reader of chat_template.jinja.
    return file.read_text(encoding="utf-8")


def special_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    """Return the named special tokens that a template may use (`eos_token` and so on)."""
    found: Mapping[str, object] = tokenizer.special_tokens_map
    return {name: str(token) for name, token in found.items() if not isinstance(token, list)}


def _own_template(tokenizer: PreTrainedTokenizerFast) -> str:
    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default")
    if not own:
        raise ConfigError(
            f"{tokenizer.name_or_path or 'this tokenizer'} has no chat template",
            hint="choose an instruct model: a base model without a template cannot chat",
        )
    return str(own)


def _texts(
    tokenizer: PreTrainedTokenizerFast, template: str, chat: Sequence[Message]
) -> tuple[str | None, str | None]:
    return _text(tokenizer, template, chat, False), _text(tokenizer, template, chat, True)


def _text(
    tokenizer: PreTrainedTokenizerFast, template: str, chat: Sequence[Message], prompt: bool
) -> str | None:
    from jinja2 import TemplateError

    try:
        rendered: str = tokenizer.apply_chat_template(
            [dict(message) for message in chat],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=prompt,
        )
    except TemplateError:
        return None
    return rendered
