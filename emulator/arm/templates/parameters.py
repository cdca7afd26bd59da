"""The parameters of a template: what is declared, what is given, and whether the two agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any  # Any: values are JSON

from emulator.arm.templates.expressions import invalid

_TYPES: Mapping[str, type] = {
    "string": str,
    "securestring": str,
    "int": int,
    "bool": bool,
    "array": list,
    "object": dict,
    "secureobject": dict,
}


def read_parameters(template: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters' values, defaults included. Raises 400 for what does not fit."""
    declared: Mapping[str, Any] = template.get("parameters") or {}
    unknown = sorted({name.lower() for name in given} - {name.lower() for name in declared})
    if unknown:
        raise invalid(f"The template parameters {unknown} are not valid; they are not present.")
    values = {name.lower(): one.get("value") for name, one in given.items()}
    return {name: _value(name, one, values.get(name.lower())) for name, one in declared.items()}


def _value(name: str, declared: Mapping[str, Any], value: Any) -> Any:
    if value is None:
        if "defaultValue" not in declared and not declared.get("nullable"):
            raise invalid(f"The value for the template parameter '{name}' is not provided.")
        return declared.get("defaultValue")
    for problem in _problems(declared, value):
        raise invalid(f"The template parameter '{name}' {problem}.")
    return value


def _problems(declared: Mapping[str, Any], value: Any) -> Iterator[str]:
    expected = _TYPES.get(str(declared.get("type")).lower())
    if expected is None:
        yield f"has the unknown type {declared.get('type')!r}"
        return
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        yield f"is {value!r}, not of type '{declared['type']}'"
        return
    allowed = declared.get("allowedValues")
    if allowed is not None and value not in allowed:
        yield f"is {value!r}, not one of {allowed}"
    if isinstance(value, int):
        yield from _bounds(value, declared.get("minValue"), declared.get("maxValue"))
    elif isinstance(value, (str, list)):
        yield from _bounds(len(value), declared.get("minLength"), declared.get("maxLength"))


def _bounds(size: int, low: int | None, high: int | None) -> Iterator[str]:
    if (low is not None and size < low) or (high is not None and size > high):
        yield f"comes to {size}, outside of {low} to {high}"
