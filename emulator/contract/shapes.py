"""Whether a value has the shape of a published type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal  # Any: values are JSON

from emulator.contract.published import Shape

Side = Literal["request", "answer"]

_REQUIRED, _READ_ONLY, _WRITE_ONLY, _CONSTANT = 1, 2, 4, 8
_IMPLIED = ("name", "id", "type", "apiVersion")  # in the address of a request, not in its body


def problems(shape: Shape, value: Any, side: Side, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield where a value differs from its type and how."""
    if value is None:
        return
    kind = shape.type["$type"]
    check = _CHECKS.get(kind)
    if check is not None:
        yield from check(shape, value, side, path)


def _object(shape: Shape, value: Any, side: Side, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield path, f"is {type(value).__name__}, not an object"
        return
    properties, others = shape.type.get("properties") or {}, shape.type.get("additionalProperties")
    yield from _members(shape, value, side, path, properties, others)


def _discriminated(shape: Shape, value: Any, side: Side, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield path, f"is {type(value).__name__}, not an object"
        return
    key, elements = shape.type["discriminator"], shape.type["elements"]
    tag = value.get(key)
    if tag not in elements:
        yield f"{path}.{key}", f"is {tag!r}, not one of {sorted(elements)}"
        return
    element = shape.follow(elements[tag]).type
    properties = {**shape.type["baseProperties"], **(element.get("properties") or {})}
    yield from _members(shape, value, side, path, properties, element.get("additionalProperties"))


def _members(
    shape: Shape,
    value: Mapping[str, Any],
    side: Side,
    path: str,
    properties: Mapping[str, Any],
    others: Mapping[str, str] | None,
) -> Iterator[tuple[str, str]]:
    for name, one in properties.items():
        flags = one.get("flags", 0)
        if name not in value:
            if flags & _REQUIRED and not _may_lack(name, flags, side):
                yield f"{path}.{name}", "is required, and missing"
        elif side == "request" and flags & _READ_ONLY and name not in _IMPLIED:
            yield f"{path}.{name}", "is read-only, and was sent"
        else:
            yield from problems(shape.follow(one["type"]), value[name], side, f"{path}.{name}")
    for name in value:
        if name not in properties and others:
            yield from problems(shape.follow(others), value[name], side, f"{path}.{name}")
        elif name not in properties:
            yield f"{path}.{name}", "is not known"


def _may_lack(name: str, flags: int, side: Side) -> bool:
    hidden = _READ_ONLY if side == "request" else _WRITE_ONLY
    return bool(flags & (hidden | _CONSTANT)) or name in _IMPLIED


def _union(shape: Shape, value: Any, side: Side, path: str) -> Iterator[tuple[str, str]]:
    elements = [shape.follow(one).type for one in shape.type["elements"]]
    literals = [one["value"] for one in elements if one["$type"] == "StringLiteralType"]
    if not literals or value in literals:
        return
    if isinstance(value, str) and value.lower() in (one.lower() for one in literals):
        yield path, f"is {value!r}, which differs in case from an allowed value"
    elif len(literals) == len(elements):
        yield path, f"is {value!r}, not one of {literals[:8]}"


def _literal(shape: Shape, value: Any, side: Side, path: str) -> Iterator[tuple[str, str]]:
    if str(value).lower() != shape.type["value"].lower():
        yield path, f"is {value!r}, not {shape.type['value']!r}"


def _text(shape: Shape, value: Any, side: Side, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, str):
        yield path, f"is {type(value).__name__}, not a text"
        return
    pattern = shape.type.get("pattern")
    if pattern and not re.search(pattern, value):
        yield path, f"is {value!r}, which does not match {pattern}"
    yield from _bounds(len(value), shape.type.get("minLength"), shape.type.get("maxLength"), path)


def _integer(shape: Shape, value: Any, side: Side, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, int) or isinstance(value, bool):
        yield path, f"is {type(value).__name__}, not an integer"
    else:
        yield from _bounds(value, shape.type.get("minValue"), shape.type.get("maxValue"), path)


def _boolean(shape: Shape, value: Any, side: Side, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, bool):
        yield path, f"is {type(value).__name__}, not a boolean"


def _array(shape: Shape, value: Any, side: Side, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield path, f"is {type(value).__name__}, not an array"
        return
    for one in value:
        yield from problems(shape.follow(shape.type["itemType"]), one, side, f"{path}[]")


def _bounds(size: int, low: int | None, high: int | None, path: str) -> Iterator[tuple[str, str]]:
    if (low is not None and size < low) or (high is not None and size > high):
        yield path, f"is {size}, outside of {low} to {high}"


_CHECKS: Mapping[str, Callable[[Shape, Any, Side, str], Iterator[tuple[str, str]]]] = {
    "ObjectType": _object,
    "DiscriminatedObjectType": _discriminated,
    "UnionType": _union,
    "StringLiteralType": _literal,
    "StringType": _text,
    "IntegerType": _integer,
    "BooleanType": _boolean,
    "ArrayType": _array,
}
