"""The description of every route, made from the classes that check the requests."""

from __future__ import annotations

from typing import Any  # an OpenAPI document is a JSON object

from pydantic.json_schema import models_json_schema

from hieno import __version__
from hieno.serve.chat_request import ChatRequest
from hieno.serve.completion_request import CompletionRequest
from hieno.serve.responses_request import ResponsesRequest
from hieno.serve.score import ScoreParams
from hieno.serve.service import Service

_PLACE = "#/components/schemas/{model}"
_TEXT = {"type": "string"}
_WHOLE = {"type": "integer", "minimum": 0}
_EVENT = {"type": "object", "required": ["data"], "properties": {"data": _TEXT}}
_OR_NULL = {"type": ["string", "null"]}
_REFUSALS = {
    "400": "a field that is wrong, unknown or cannot be honoured",
    "404": "there is no such model",
    "408": "the body came too slowly",
    "413": "the body is too large",
    "415": "the body is not JSON",
    "429": "too many answers are in the making",
    "431": "a request id is too long",
    "500": "the answer failed",
}


def openapi(service: Service) -> dict[str, Any]:
    """Return the OpenAPI document of a container, with the bounds of its own model."""
    kinds = (ChatRequest, CompletionRequest, ResponsesRequest, ScoreParams)
    _, described = models_json_schema(
        [(kind, "validation") for kind in kinds], ref_template=_PLACE, by_alias=True
    )
    schemas = described["$defs"] | _answers() | {"ScoreRequest": _score_request(service)}
    _bound(schemas, service)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hieno", "version": __version__},
        "paths": {
            "/v1/models": {"get": _told("models", "List the models.", "Models")},
            "/v1/models/{name}": {
                "get": _told("model", "Show a model.", "Model")
                | {"parameters": [_parameter("name", "path", {"enum": list(service.names)})]}
            },
            "/v1/chat/completions": {"post": _asked("chat", "Reply to a conversation.", "Chat")},
            "/v1/completions": {"post": _asked("complete", "Go on from a text.", "Completion")},
            "/v1/responses": {"post": _asked("respond", "Reply, as a response.", "Responses")},
            "/score": {"post": _asked("score", "Reply to each input.", "Score", error="Message")},
        },
        "components": {"schemas": schemas},
    }


def _bound(schemas: dict[str, Any], service: Service) -> None:
    """Write the limits of this model and engine into the general descriptions."""
    most = service.settings.max_new_tokens
    for name in ("ChatRequest", "CompletionRequest", "ResponsesRequest", "ScoreParams"):
        fields = schemas[name]["properties"]
        if "model" in fields:
            fields["model"] = {"enum": list(service.names)}
        for field, described in fields.items():
            if "tokens" in field:
                for choice in described.get("anyOf", ()):
                    if choice["type"] == "integer":
                        choice["maximum"] = most
    if not service.engine.constrains:
        for name in ("ResponseFormat", "TextFormat"):
            schemas[name]["properties"] = {"type": {"const": "text"}}


def _asked(name: str, summary: str, kind: str, *, error: str = "Error") -> dict[str, Any]:
    """Describe a route that takes a body and answers whole or as events."""
    body = {"required": True, "content": _content(f"{kind}Request")}
    whole = _content(f"{kind}Answer") | {"text/event-stream": {"schema": _EVENT}}
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": body,
        "responses": {"200": {"description": "the answer", "content": whole}, **_refused(error)},
    }


def _told(name: str, summary: str, kind: str) -> dict[str, Any]:
    """Describe a route without a body."""
    told = {"200": {"description": "what was asked for", "content": _content(kind)}}
    return {"operationId": name, "summary": summary, "responses": told | _refused("Error")}


def _refused(kind: str) -> dict[str, Any]:
    return {
        status: {"description": words, "content": _content(kind)}
        for status, words in _REFUSALS.items()
    }


def _content(kind: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _PLACE.format(model=kind)}}}


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "schema": schema}


def _score_request(service: Service) -> dict[str, Any]:
    conversation = {"$ref": _PLACE.format(model="ChatRequest") + "/properties/messages"}
    return {
        "type": "object",
        "required": ["input_data"],
        "additionalProperties": False,
        "properties": {
            "input_data": {
                "type": "array",
                "minItems": 1,
                "maxItems": service.settings.max_requests,
                "items": {"anyOf": [_TEXT, conversation]},
            },
            "params": {"$ref": _PLACE.format(model="ScoreParams")},
        },
    }


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(fields), "properties": fields}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _answers() -> dict[str, Any]:
    """Describe what is answered; a field that is always there is required."""
    model = _object(id=_TEXT, object={"const": "model"}, created=_WHOLE, owned_by=_TEXT)
    usage = _object(prompt_tokens=_WHOLE, completion_tokens=_WHOLE, total_tokens=_WHOLE)
    finish = {"enum": ["stop", "length"]}
    message = _object(role={"const": "assistant"}, content=_TEXT, refusal={"type": "null"})
    around = {
        "id": _TEXT,
        "created": _WHOLE,
        "model": _TEXT,
        "system_fingerprint": _TEXT,
        "usage": usage,
    }
    replied = _object(index=_WHOLE, message=message, finish_reason=finish)
    continued = _object(index=_WHOLE, text=_TEXT, finish_reason=finish)
    part = _object(type={"const": "output_text"}, text=_TEXT, annotations=_list({}))
    output = _object(id=_TEXT, type={"const": "message"}, content=_list(part))
    return {
        "Model": model,
        "Models": _object(object={"const": "list"}, data=_list(model)),
        "ChatAnswer": _object(
            **around, object={"const": "chat.completion"}, choices=_list(replied)
        ),
        "CompletionAnswer": _object(
            **around, object={"const": "text_completion"}, choices=_list(continued)
        ),
        "ResponsesAnswer": _object(
            id=_TEXT,
            object={"const": "response"},
            created_at=_WHOLE,
            status={"enum": ["completed", "incomplete"]},
            model=_TEXT,
            output=_list(output),
            usage=_object(input_tokens=_WHOLE, output_tokens=_WHOLE, total_tokens=_WHOLE),
        ),
        "ScoreAnswer": _list(_TEXT),
        "Error": _object(error=_object(message=_TEXT, type=_TEXT, param=_OR_NULL, code=_OR_NULL)),
        "Message": _object(message=_TEXT),
    }
