"""A chat as text, with each message's own words kept apart from what the template adds.

The template is rendered over placeholders, so that its own text can be told from the chat's: only
the template may write control tokens. The rendering is transformers' (a sandboxed Jinja).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

from hieno.errors import BadData, ConfigError

Message: TypeAlias = Mapping[str, str]
Hidden: TypeAlias = tuple[tuple[str, str], ...]  # role, and the mark in place of the words

ROLES = ("system", "user", "assistant", "tool")
LARGEST = 4 * 1024 * 1024
SHORT = 64  # messages of a chat whose shape is remembered
# Private-use characters bracket the number of a message; a chat that contains them gets others.
_BRACKETS = [(chr(code), chr(code + 1)) for code in range(0xF0000, 0xF0100, 2)]
# transformers keeps the place of supervised text in state that all threads share.
_rendering = threading.Lock()


@dataclass(frozen=True)
class Fragment:
    """A piece of a rendered chat: a message's own words (`content`) or the template's text."""

    text: str
    content: bool
    supervised: bool


def render(
    template: str, messages: Sequence[Message], *, special: Mapping[str, str], prompt: bool
) -> tuple[Fragment, ...]:
    """Render a chat with a `{% generation %}`-marked template.

    `prompt` asks for the beginning of the next reply. Raises `BadData` for messages that cannot
    be shown, `ConfigError` for a template that changes their words or writes more than 4 MB.
    """
    plain = [_check(message, number) for number, message in enumerate(messages)]
    opening, closing = _brackets(template, plain)
    hidden = tuple(
        (message["role"], f"{opening}{number}{closing}" if message["content"] else "")
        for number, message in enumerate(plain)
    )
    named = tuple(special.items())
    render_hidden = _known_shape if _is_lasting(template, hidden) else _shape
    text, spans = render_hidden(template, hidden, named, prompt)
    spans = [span for span in spans if not _silent(text[slice(*span)], messages, opening, closing)]
    fragments = tuple(_split(text, spans, plain, f"{opening}(\\d+){closing}"))
    whole, _ = _render(template, plain, special, prompt, marked=False)
    if "".join(piece.text for piece in fragments) != whole:
        raise ConfigError(
            "the chat template changes the words of a message, so what was supervised is unknown",
            hint="choose a model whose template shows messages as they are",
        )
    _refuse_hidden(text, plain, opening, closing)
    return fragments


def _silent(text: str, messages: Sequence[Message], opening: str, closing: str) -> bool:
    """Tell whether a reply has weight 0: it is shown, and not learnt."""
    return any(
        not learnt(messages[int(number)])
        for number in re.findall(f"{opening}(\\d+){closing}", text)
    )


def learnt(message: Message) -> bool:
    """Tell whether a message's `weight`, as OpenAI's training files have it, is not 0."""
    weight: object = message.get("weight", 1)
    return weight != 0


def _check(message: Message, number: int) -> dict[str, str]:
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise BadData(
            f"messages[{number}].role is {role!r}",
            hint="roles are system, user, assistant and tool",
        )
    if not isinstance(content, str):
        raise BadData(
            f"messages[{number}].content is not text", hint="write each message's content as text"
        )
    return {"role": role, "content": content}


def _brackets(template: str, messages: Sequence[Message]) -> tuple[str, str]:
    used = "".join((template, *(message["content"] for message in messages)))
    for opening, closing in _BRACKETS:
        if opening not in used and closing not in used:
            return opening, closing
    raise BadData(
        "the chat uses every private character that marks a message's place",
        hint="remove characters from U+F0000 to U+F00FF",
    )


def _is_lasting(template: str, hidden: Hidden) -> bool:
    """Tell whether the template says the same of such a chat at any time, in little memory."""
    return len(hidden) <= SHORT and "strftime_now" not in template


def _shape(
    template: str, hidden: Hidden, special: tuple[tuple[str, str], ...], prompt: bool
) -> tuple[str, list[tuple[int, int]]]:
    """Render a chat whose words are hidden, with the places of its supervised text."""
    messages = [{"role": role, "content": content} for role, content in hidden]
    return _render(template, messages, dict(special), prompt, marked=True)


# chats of as many turns by the same roles, that is most of a data set, have one shape
_known_shape = lru_cache(maxsize=256)(_shape)


def _render(
    template: str,
    messages: Sequence[Message],
    special: Mapping[str, str],
    prompt: bool,
    *,
    marked: bool,
) -> tuple[str, list[tuple[int, int]]]:
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        with _rendering:
            texts, spans = render_jinja_template(
                conversations=[list(messages)],
                chat_template=template,
                return_assistant_tokens_mask=marked,
                add_generation_prompt=prompt,
                **special,
            )
    except TemplateError as error:
        raise BadData(
            f"the chat template refuses this chat: {error}",
            hint="start with a system or user message and let user and assistant take turns",
        ) from error
    if len(texts[0]) > LARGEST:
        raise ConfigError(
            f"the chat template wrote {len(texts[0])} characters, more than {LARGEST}",
            hint="shorten the chat, or choose a model with an ordinary chat template",
        )
    return texts[0], spans[0] if marked else []


def _split(
    text: str, spans: Sequence[tuple[int, int]], messages: Sequence[Message], placeholder: str
) -> Iterator[Fragment]:
    places = [
        (found.start(), found.end(), int(found[1])) for found in re.finditer(placeholder, text)
    ]
    cuts = {0, len(text)}
    for start, end, *_ in (*places, *spans):
        cuts |= {start, end}
    contents = {start: messages[number]["content"] for start, _, number in places}
    edges = sorted(cuts)
    for start, end in pairwise(edges):
        supervised = any(begin <= start < stop for begin, stop in spans)
        yield Fragment(contents.get(start, text[start:end]), start in contents, supervised)


def _refuse_hidden(text: str, messages: Sequence[Message], opening: str, closing: str) -> None:
    for number, message in enumerate(messages):
        if message["content"] and f"{opening}{number}{closing}" not in text:
            raise BadData(
                f"messages[{number}] (role {message['role']!r}) is not shown to the model:"
                " its chat template leaves it out",
                hint="remove the message, or use the roles system, user and assistant",
            )
