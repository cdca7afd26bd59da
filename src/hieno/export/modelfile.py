"""Ollama's Modelfile: where the weights are, the chat template in Go's words, the stop tokens.

Ollama renders Go templates and not the Jinja template in a GGUF file. The Go template is put
together from what the model's own template writes around messages, and is taken only where that
says on `PROBES` what the model's own template says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hieno.templates.families import PROBES
from hieno.templates.rendering import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAME = "Modelfile"
_STOP = re.compile(r'^PARAMETER stop "(.*)"$', re.MULTILINE)
_WORDS = ("\x01s\x01", "\x01u\x01", "\x01a\x01", "\x01v\x01")  # that no template writes itself


@dataclass(frozen=True)
class Around:
    """What a template writes around messages whose last one is the user's."""

    before_first: str  # where there is no system message
    before_system: str
    after_system: str
    before_reply: str  # from a user's words to the reply
    after_reply: str  # from a reply to the user's next words


def template(tokenizer: PreTrainedTokenizerFast) -> str | None:
    """Return the chat template in Go's words, None where it is of another kind."""
    found = _around(tokenizer)
    if found is None:
        return None
    chats = [chat for chat in PROBES if chat[-1]["role"] == "user" and all(map(_filled, chat))]
    if any(render(found, chat) != _own(tokenizer, chat) for chat in chats):
        return None
    system, user = '{{ if eq .Role "system" }}', '{{ else if eq .Role "user" }}'
    return "".join(
        (
            "{{ range $i, $_ := .Messages }}",
            f"{system}{_go(found.before_system)}{{{{ .Content }}}}",
            f"{user}{{{{ if eq $i 0 }}}}{_go(found.before_first)}",
            f"{{{{ else if eq $i 1 }}}}{_go(found.after_system)}",
            f"{{{{ else }}}}{_go(found.after_reply)}{{{{ end }}}}",
            f"{{{{ .Content }}}}{_go(found.before_reply)}",
            "{{ else }}{{ .Content }}{{ end }}{{ end }}",
        )
    )


def render(around: Around, chat: Sequence[Message]) -> str:
    """Return what the Go template makes of a chat that ends with the user's words."""
    text = ""
    for number, message in enumerate(chat):
        if message["role"] == "system":
            text += around.before_system + message["content"]
        elif message["role"] == "user":
            before = (around.before_first, around.after_system)
            text += before[number] if number < len(before) else around.after_reply
            text += message["content"] + around.before_reply
        else:
            text += message["content"]
    return text


def write(file: str, template: str, stops: Sequence[str]) -> str:
    """Return the Modelfile of a GGUF file beside it."""
    lines = [
        f"# ollama create NAME -f {NAME}",
        f"FROM ./{file}",
        f'TEMPLATE """{template}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),
        "# the likeliest token each time, as in the evaluation",
        "PARAMETER temperature 0",
    ]
    return "\n".join(lines) + "\n"


def stops(text: str) -> list[str]:
    """Return the stop tokens that a Modelfile names."""
    return _STOP.findall(text)


def _around(tokenizer: PreTrainedTokenizerFast) -> Around | None:
    s, u, a, v = _WORDS
    roles = {s: "system", u: "user", a: "assistant", v: "user"}
    texts = [
        _own(tokenizer, [{"role": roles[word], "content": word} for word in chat])
        for chat in ((s, u), (u, a, v))
    ]
    alone, turns = (re.split("|".join(map(re.escape, _WORDS)), text) for text in texts)
    if len(alone) != len((s, u)) + 1 or len(turns) != len((u, a, v)) + 1:
        return None
    # What follows the user's words is the same in the middle of a chat and where a reply is due.
    if not alone[2] == turns[1] == turns[3]:
        return None
    return Around(
        before_first=turns[0],
        before_system=alone[0],
        after_system=alone[1],
        before_reply=turns[1],
        after_reply=turns[2],
    )


def _own(tokenizer: PreTrainedTokenizerFast, chat: Sequence[Message]) -> str:
    rendered: str = tokenizer.apply_chat_template(
        [dict(message) for message in chat], tokenize=False, add_generation_prompt=True
    )
    return rendered


def _filled(message: Message) -> bool:
    return bool(message["content"])


def _go(text: str) -> str:
    """Return an action that writes a text as it stands, white space and braces included."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '{{ "' + "".join(escapes.get(letter, letter) for letter in text) + '" }}' if text else ""
