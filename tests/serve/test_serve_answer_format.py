"""Answers that must be JSON: which schemas are taken, and that the engine keeps to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from serving import Client, error_of

from hieno.serve.answer_format import json_schema
from hieno.serve.refusals import Refused

PLACE = "response_format.json_schema"
NODE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
    },
    "required": ["value", "next"],
    "additionalProperties": False,
}


def check(schema: dict[str, Any]) -> str | None:
    return json_schema(
        "json_schema", schema, param="response_format", place="schema", constrains=True
    )


def deep(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        inner = {"type": "array", "items": inner}
    return inner


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        NODE | {"$defs": {"Node": NODE}},
        {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
        {"type": ["string", "null"], "description": "a name", "title": "Name", "default": None},
        {"enum": ["a", 1, 1.5, None, True]},
        {"const": "a"},
        {"type": "array", "items": {"type": "number"}},
        deep(10),
    ],
)
def test_ordinary_schemas_reach_the_engine_as_they_came(schema: dict[str, Any]) -> None:
    assert json.loads(str(check(schema))) == schema


SELF = "'schema.$defs.A' cannot be used as a schema: defined by itself."


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "word"}, "'schema.type' cannot be used as a schema: not a type of JSON."),
        ({"type": []}, "'schema.type' cannot be used as a schema: not a type of JSON."),
        (
            {"pattern": "(("},
            "Unsupported parameter: 'schema.pattern' is not supported in a schema.",
        ),
        (
            {"items": {"minimum": 5}},
            "Unsupported parameter: 'schema.items.minimum' is not supported in a schema.",
        ),
        (
            {"properties": {"a": {"format": "date"}}},
            "Unsupported parameter: 'schema.properties.a.format' is not supported in a schema.",
        ),
        ({"items": 5}, "'schema.items' cannot be used as a schema: not an object."),
        (
            {"properties": {'a"\n': {}}},
            "'schema.properties' cannot be used as a schema: has a name of other characters.",
        ),
        (
            {"properties": {"a": {}}, "required": ["b"]},
            "'schema.required' cannot be used as a schema: not a list of the properties.",
        ),
        ({"anyOf": []}, "'schema.anyOf' cannot be used as a schema: not a list of schemas."),
        ({"enum": []}, "'schema.enum' cannot be used as a schema: not a list of 1 to 250 values."),
        (
            {"enum": ["a\n"]},
            "'schema.enum' cannot be used as a schema: not all short texts or small numbers.",
        ),
        (
            {"const": 1e300},
            "'schema.const' cannot be used as a schema: not a short text or a small number.",
        ),
        (
            {"$ref": "https://example.org/a"},
            "'schema.$ref' cannot be used as a schema: not a definition of this schema.",
        ),
        (
            {"$ref": "#/$defs/A", "$defs": {}},
            "'schema.$ref' cannot be used as a schema: not a definition of this schema.",
        ),
        (
            {"$ref": "#/$defs/A", "type": "string", "$defs": {"A": {}}},
            "'schema.$ref' cannot be used as a schema: not alone.",
        ),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, SELF),
        (
            {
                "$ref": "#/$defs/A",
                "$defs": {
                    "A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/B"}]},
                    "B": {"$ref": "#/$defs/A"},
                },
            },
            SELF,
        ),
        (
            {"items": {"$defs": {}}},
            "'schema.items.$defs' cannot be used as a schema: not at the top.",
        ),
        (
            deep(11),
            "'schema' cannot be used as a schema: more than 200 parts, or deeper than 10 levels.",
        ),
        (
            {"anyOf": [{"type": "null"}] * 200},
            "'schema' cannot be used as a schema: more than 200 parts, or deeper than 10 levels.",
        ),
    ],
)
def test_a_schema_that_might_not_be_understood_is_refused_by_its_place(
    schema: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused) as refused:
        check(schema)
    assert refused.value.message == message
    assert refused.value.status == 400


def test_definitions_that_fan_out_are_walked_once() -> None:
    def both(number: int) -> dict[str, Any]:
        return {"anyOf": [{"$ref": f"#/$defs/D{number}"}, {"$ref": f"#/$defs/D{number}"}]}

    last: dict[str, Any] = {"type": "null"}
    definitions = {f"D{n}": both(n + 1) if n < 40 else last for n in range(41)}
    # Walked along every way, these are 2**40 definitions.
    assert check({"$ref": "#/$defs/D0", "$defs": definitions})


@pytest.mark.parametrize(
    ("wanted", "code", "param", "message"),
    [
        (
            {"type": "json_object"},
            "unsupported_parameter",
            "response_format",
            "Unsupported value: 'response_format' may only be of type 'text' with this model's "
            "engine.",
        ),
        (
            {"type": "json_schema"},
            "invalid_value",
            PLACE,
            f"'{PLACE}' is required with type 'json_schema'.",
        ),
        (
            {"type": "text", "json_schema": {"name": "a", "schema": {}}},
            "invalid_value",
            PLACE,
            f"'{PLACE}' is only taken with type 'json_schema'.",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}},
            "invalid_value",
            f"{PLACE}.name",
            f"'{PLACE}.name': string should match pattern '^[A-Za-z0-9_-]{{1,64}}$'.",
        ),
        (
            {"type": "grammar"},
            "invalid_value",
            "response_format.type",
            "'response_format.type': input should be 'text', 'json_object' or 'json_schema'.",
        ),
    ],
)
def test_a_format_that_cannot_be_kept_is_refused_by_name(
    client: Client, wanted: dict[str, Any], code: str, param: str, message: str
) -> None:
    response = client.chat(response_format=wanted)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["param"], error["message"]) == (code, param, message)
    assert client.service.slots.taken == 0
