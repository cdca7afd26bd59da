"""Answers that must be JSON: which schemas are accepted, and what the engine is told.

A grammar that OpenVINO GenAI 2026.4 cannot compile ends its pipeline for everybody, so a schema
is accepted only where every word of it is one that is known to compile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal  # a schema is any JSON until it is checked

from pydantic import BaseModel, ConfigDict, Field

from hieno.serve.refusals import Refused

ANY_OBJECT = '{"type":"object"}'

_MOST_SCHEMAS = 200
_DEEPEST = 10
_MOST_CHOICES = 250
_TYPES = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REFERENCE = re.compile(r"#/\$defs/([A-Za-z0-9_-]{1,64})")
_TEXT = re.compile(r"[\x20-\x7e\xa1-\uffff]{0,200}")
_DESCRIBING = frozenset({"title", "description", "default", "examples", "$schema"})


class NamedSchema(BaseModel):
    """The schema of an answer, as chat completions nest it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: Annotated[str, Field(max_length=4096)] | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """`response_format` of a chat completion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class TextFormat(BaseModel):
    """`text.format` of a response, where the schema's fields are not nested."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    description: Annotated[str, Field(max_length=4096)] | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


def json_schema(
    kind: str, schema: Mapping[str, Any] | None, *, param: str, place: str, constrains: bool
) -> str | None:
    """Return the schema that the answer must follow, None for free text.

    `param` names the format, `place` the schema inside of it. Refuses with 400 a schema that is
    not surely understood, and any where the engine cannot constrain.
    """
    if (kind == "json_schema") != (schema is not None):
        words = "is required with" if schema is None else "is only taken with"
        raise Refused(400, f"'{place}' {words} type 'json_schema'.", "invalid_value", place)
    if kind == "text":
        return None
    if not constrains:
        raise Refused(
            400,
            f"Unsupported value: '{param}' may only be of type 'text' with this model's engine.",
            "unsupported_parameter",
            param,
        )
    if schema is None:
        return ANY_OBJECT
    _Check(schema, place).all()
    return json.dumps(schema)


class _Check:
    """Walks one schema once; its definitions are walked where they stand."""

    def __init__(self, root: Mapping[str, Any], place: str) -> None:
        self._root = root
        self._place = place
        self._seen = 0
        self._ended: set[str] = set()

    def all(self) -> None:
        """Refuse the schema unless every word of it is understood."""
        self._schema(self._root, self._place, 0)
        for name in self._root.get("$defs", {}):
            self._end(name, frozenset())

    def _schema(self, schema: Any, place: str, depth: int) -> None:
        self._seen += 1
        if self._seen > _MOST_SCHEMAS or depth > _DEEPEST:
            words = f"more than {_MOST_SCHEMAS} parts, or deeper than {_DEEPEST} levels"
            raise _wrong(self._place, words)
        if not isinstance(schema, dict):
            raise _wrong(place, "not an object")
        for word, value in schema.items():
            self._word(schema, word, value, f"{place}.{word[:64]}", depth)

    def _word(
        self, schema: Mapping[str, Any], word: str, value: Any, place: str, depth: int
    ) -> None:
        match word:
            case "type":
                _require(_is_type(value), place, "not a type of JSON")
            case "properties" | "$defs":
                _require(word == "properties" or depth == 0, place, "not at the top")
                _require(isinstance(value, dict), place, "not an object")
                for name, inner in value.items():
                    _require(_NAME.fullmatch(name), place, "has a name of other characters")
                    self._schema(inner, f"{place}.{name}", depth + 1)
            case "required":
                known = schema.get("properties", {})
                _require(_is_required(value, known), place, "not a list of the properties")
            case "additionalProperties":
                _require(isinstance(value, bool), place, "neither true nor false")
            case "items":
                self._schema(value, place, depth + 1)
            case "anyOf":
                _require(isinstance(value, list) and value, place, "not a list of schemas")
                for number, inner in enumerate(value):
                    self._schema(inner, f"{place}[{number}]", depth + 1)
            case "enum":
                several = isinstance(value, list) and 0 < len(value) <= _MOST_CHOICES
                _require(several, place, f"not a list of 1 to {_MOST_CHOICES} values")
                _require(all(map(_is_plain, value)), place, "not all short texts or small numbers")
            case "const":
                _require(_is_plain(value), place, "not a short text or a small number")
            case "$ref":
                known = isinstance(value, str) and self._target(value) is not None
                _require(known, place, "not a definition of this schema")
                others = schema.keys() - _DESCRIBING - {"$ref", "$defs"}
                _require(not others, place, "not alone")
            case _ if word in _DESCRIBING:
                return
            case _:
                raise Refused(
                    400,
                    f"Unsupported parameter: '{place}' is not supported in a schema.",
                    "unsupported_parameter",
                    place,
                )

    def _target(self, reference: str) -> Any:
        found = _REFERENCE.fullmatch(reference)
        definitions = self._root.get("$defs")
        return definitions.get(found[1]) if found and isinstance(definitions, dict) else None

    def _end(self, name: str, behind: frozenset[str]) -> None:
        """Refuse definitions that are each other without a character in between."""
        _require(name not in behind, f"{self._place}.$defs.{name}", "defined by itself")
        if name in self._ended:
            return
        for following in _directly(self._root["$defs"][name]):
            self._end(following, behind | {name})
        self._ended.add(name)


def _directly(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the definitions that a schema may be, before its first character."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    for inner in schema.get("anyOf", ()):
        yield from _directly(inner)


def _require(condition: object, place: str, words: str) -> None:
    if not condition:
        raise _wrong(place, words)


def _wrong(place: str, words: str) -> Refused:
    return Refused(400, f"'{place}' cannot be used as a schema: {words}.", "invalid_value", place)


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)


def _is_required(value: Any, known: Any) -> bool:
    if not isinstance(value, list) or not isinstance(known, dict):
        return False
    return all(isinstance(name, str) and name in known for name in value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return _TEXT.fullmatch(value) is not None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value) < 1e15
    return value is None or isinstance(value, bool)
