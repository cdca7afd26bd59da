"""Forms that a reply can be asked for and a program can check: so many words, capitals, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any  # a form's value is JSON

_LIST_ITEM = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+\S", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)")
_FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)


def follows(reply: str, form: Mapping[str, Any]) -> bool:
    """Tell whether a reply has every form that was asked for."""
    return bool(reply.strip()) and all(
        KNOWN[name][1](reply.strip(), value) for name, value in form.items()
    )


def problem(form: object) -> str:
    """Say what is wrong with a form, or nothing."""
    if not isinstance(form, Mapping):
        return "form is not an object"
    for name, value in form.items():
        if name not in KNOWN:
            return f"there is no form {name!r}"
        kind = KNOWN[name][0]
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            return f"form {name} is {value!r}, not {kind.__name__}"
    return ""


def _is_json(reply: str, _: object) -> bool:
    fenced = _FENCE.match(reply)
    try:
        return isinstance(json.loads(fenced[1] if fenced else reply), dict | list)
    except (ValueError, RecursionError):
        return False


def _sentences(reply: str, count: int) -> bool:
    return len(_SENTENCE_END.findall(reply)) == count


_Check = Callable[[str, Any], bool]
KNOWN: Mapping[str, tuple[type, _Check]] = {
    "words": (int, lambda reply, count: len(reply.split()) == count),
    "most_words": (int, lambda reply, count: len(reply.split()) <= count),
    "sentences": (int, _sentences),
    "items": (int, lambda reply, count: len(_LIST_ITEM.findall(reply)) == count),
    "starts": (str, lambda reply, text: reply.lower().startswith(text.lower())),
    "ends": (str, lambda reply, text: reply.lower().endswith(text.lower())),
    "holds": (str, lambda reply, text: text.lower() in reply.lower()),
    "without": (str, lambda reply, text: text.lower() not in reply.lower()),
    "capitals": (bool, lambda reply, wanted: (reply == reply.upper()) is wanted),
    "small_letters": (bool, lambda reply, wanted: (reply == reply.lower()) is wanted),
    "json": (bool, lambda reply, wanted: _is_json(reply, wanted) is wanted),
}
