"""Every answer that is not a 200, in the dialect of its route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any  # the `input` of a pydantic error may be anything

from fastapi.responses import JSONResponse
from pydantic import ValidationError

UNEXPECTED = "An unexpected error occurred in scoring script. Check the logs for more info."


@dataclass
class Refused(Exception):
    """A request that is answered with an error; the message may be shown to anybody."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal_response(path: str, refused: Refused) -> JSONResponse:
    """Return the error as OpenAI clients (`/v1/...`) or Azure's clients (the rest) expect it."""
    body = error_object(refused) if path.startswith("/v1/") else {"message": refused.message}
    return JSONResponse(body, refused.status, headers=dict(refused.headers))


def error_object(refused: Refused) -> dict[str, Any]:
    """Return OpenAI's error object; all four keys are always there."""
    return {
        "error": {
            "message": refused.message,
            "type": _type(refused.status),
            "param": refused.param,
            "code": refused.code,
        }
    }


def from_validation(error: ValidationError) -> Refused:
    """Return a 400 that names the first wrong field as `messages[2].role`."""
    first = error.errors(include_url=False, include_context=False)[0]
    param = place(first["loc"])
    if first["type"] == "extra_forbidden":
        return Refused(400, f"Unknown parameter: '{param}'.", "unknown_parameter", param)
    if first["type"] == "missing":
        return Refused(400, f"'{param}' is required.", "missing_required_parameter", param)
    words = first["msg"].removeprefix("Value error, ")
    words = words[:1].lower() + words[1:]
    return Refused(400, f"'{param}': {words}.", "invalid_value", param)


def place(location: tuple[int | str, ...]) -> str:
    """Return a field's place as a person would write it."""
    written = ""
    for part in location:
        if isinstance(part, int):
            written += f"[{part}]"
        elif part.isidentifier():  # pydantic also names the members of a union, with brackets
            written += f".{part}" if written else part
        elif not written:
            written = part[:64]
    return written


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
