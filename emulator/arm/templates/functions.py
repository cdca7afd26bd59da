"""The template functions whose value depends on their arguments alone."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any  # Any: values are JSON

from emulator.arm.templates.expressions import invalid

_GUIDS = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
_SUFFIX_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def guid(*parts: str) -> str:
    """Return an id made of texts. The namespace is Azure's as far as is known, and unverified."""
    return str(uuid.uuid5(_GUIDS, "-".join(parts)))


def unique_string(*parts: str) -> str:
    """Return thirteen letters made of texts: as stable as Azure's, but not the same ones."""
    digest = hashlib.sha256("-".join(parts).encode()).digest()
    return "".join(_SUFFIX_LETTERS[byte % 32] for byte in digest[:13])


def _format(pattern: str, *values: Any) -> str:
    def value(found: re.Match[str]) -> str:
        return _text(values[int(found[1])])

    return re.sub(r"\{(\d+)(?::[^}]*)?\}", value, pattern)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _concat(*parts: Any) -> Any:
    if isinstance(parts[0], list):
        return [one for part in parts for one in part]
    return "".join(_text(part) for part in parts)


def _contains(container: Any, wanted: Any) -> bool:
    if isinstance(container, dict):
        return str(wanted).lower() in (key.lower() for key in container)
    if isinstance(container, str):
        return str(wanted) in container
    return wanted in container


def _equals(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    return bool(one == other and type(one) is type(other))


def _union(*parts: Any) -> Any:
    if isinstance(parts[0], dict):
        return functools.reduce(_deep, parts)
    united: list[Any] = []
    for part in parts:
        united += [one for one in part if one not in united]
    return united


def _deep(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _deep(merged[key], value) if both else value
    return merged


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in ("true", "1")
    return bool(value)


def _split(text: str, signs: str | list[str]) -> list[str]:
    several = [signs] if isinstance(signs, str) else signs
    return re.split("|".join(re.escape(sign) for sign in several), text)


def _items(value: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value[key]} for key in sorted(value)]


def _slice(value: Any, start: int, count: int | None = None) -> Any:
    return value[start:] if count is None else value[start : start + count]


def _object(*pairs: Any) -> dict[str, Any]:
    return {str(pairs[index]): pairs[index + 1] for index in range(0, len(pairs), 2)}


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "array": lambda a: a if isinstance(a, list) else [a],
    "base64": lambda a: base64.b64encode(a.encode()).decode(),
    "base64tostring": lambda a: base64.b64decode(a).decode(),
    "bool": _boolean,
    "concat": _concat,
    "contains": _contains,
    "createarray": lambda *a: list(a),
    "createobject": _object,
    "div": lambda a, b: a // b,
    "empty": lambda a: not a,
    "endswith": lambda a, b: a.lower().endswith(b.lower()),
    "equals": _equals,
    "false": lambda: False,
    "first": lambda a: a[0] if a else None,
    "format": _format,
    "greater": lambda a, b: a > b,
    "greaterorequals": lambda a, b: a >= b,
    "guid": guid,
    "indexof": lambda a, b: a.lower().find(b.lower()),
    "int": int,
    "items": _items,
    "join": lambda a, b: b.join(a),
    "json": json.loads,
    "last": lambda a: a[-1] if a else None,
    "length": len,
    "less": lambda a, b: a < b,
    "lessorequals": lambda a, b: a <= b,
    "max": lambda *a: max(a[0] if isinstance(a[0], list) else a),
    "min": lambda *a: min(a[0] if isinstance(a[0], list) else a),
    "mod": lambda a, b: a % b,
    "mul": lambda a, b: a * b,
    "not": lambda a: not a,
    "null": lambda: None,
    "objectkeys": sorted,
    "padleft": lambda a, width, sign=" ": _text(a).rjust(width, sign),
    "range": lambda start, count: list(range(start, start + count)),
    "replace": lambda a, old, new: a.replace(old, new),
    "skip": _slice,
    "split": _split,
    "startswith": lambda a, b: a.lower().startswith(b.lower()),
    "string": _text,
    "sub": lambda a, b: a - b,
    "substring": _slice,
    "take": lambda a, count: a[:count],
    "tolower": str.lower,
    "toupper": str.upper,
    "trim": str.strip,
    "true": lambda: True,
    "union": _union,
    "uniquestring": unique_string,
    "uri": lambda base, path: base.rstrip("/") + "/" + path.lstrip("/"),
}


def apply_function(name: str, arguments: list[Any]) -> Any:
    """Return a function's value. Raises 400 for an unknown one and for arguments it cannot take."""
    if name not in FUNCTIONS:
        raise invalid(f"The template function '{name}' is not valid, or the emulator lacks it.")
    try:
        return FUNCTIONS[name](*arguments)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise invalid(f"The template function '{name}' cannot take {arguments}: {error}.") from None
