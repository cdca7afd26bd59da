"""The description of `/score` that Azure's tools ask for at `/swagger.json`."""

from __future__ import annotations

from typing import Any  # an OpenAPI document is a JSON object

from hieno import __version__
from hieno.serve.refusals import Refused
from hieno.serve.score import ScoreParams

_TITLE = "hieno"
_MESSAGE: dict[str, Any] = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
}


def swagger(version: str) -> dict[str, Any]:
    """Return the document for OpenAPI 2, 3 or 3.1; refuse any other version with 404."""
    if version == "2":
        return _version_2()
    if version in ("3", "3.1"):
        return _version_3("3.0.3" if version == "3" else "3.1.0")
    raise Refused(
        404, f"Swagger version [{version[:20]}] is not valid. Expected one of: ['2', '3', '3.1']."
    )


def _version_2() -> dict[str, Any]:
    # OpenAPI 2 cannot say "a text or a list": an input of any kind is the honest description.
    operation = _operation() | {
        "consumes": ["application/json"],
        "produces": ["application/json", "text/event-stream"],
        "parameters": [{"in": "body", "name": "body", "required": True, "schema": _request({})}],
        "responses": {"200": {"description": "answers in order", "schema": _answers()}},
    }
    return {
        "swagger": "2.0",
        "info": {"title": _TITLE, "version": __version__},
        "paths": {"/score": {"post": operation}},
    }


def _version_3(openapi: str) -> dict[str, Any]:
    either = {"oneOf": [{"type": "string"}, {"type": "array", "items": _MESSAGE}]}
    operation = _operation() | {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _request(either)}},
        },
        "responses": {
            "200": {
                "description": "answers in order, or a stream of events",
                "content": {
                    "application/json": {"schema": _answers()},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            }
        },
    }
    return {
        "openapi": openapi,
        "info": {"title": _TITLE, "version": __version__},
        "paths": {"/score": {"post": operation}},
    }


def _operation() -> dict[str, Any]:
    return {"operationId": "score", "summary": "Answer each input."}


def _request(one_input: dict[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {name: {} for name in ScoreParams.model_fields}
    return {
        "type": "object",
        "required": ["input_data"],
        "properties": {
            "input_data": {"type": "array", "minItems": 1, "items": one_input},
            "params": {"type": "object", "properties": params, "additionalProperties": False},
        },
    }


def _answers() -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}}
