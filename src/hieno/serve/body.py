"""A request's body: bounded while it is read, and JSON that means one thing only."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any  # JSON values have no narrower type that mypy can check

from fastapi import Request

from hieno.serve.refusals import Refused

BODY_LIMIT = 1_500_000
_DEPTH_LIMIT = 32
_KEY_LIMIT = 100_000
_SECONDS_TO_SEND = 30
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


async def read_json(request: Request, limit: int = BODY_LIMIT) -> dict[str, Any]:
    """Return the body as a JSON object, or refuse it: 400, 408, 413 or 415."""
    _check_headers(request, limit)
    try:
        async with asyncio.timeout(_SECONDS_TO_SEND):
            raw = await _read(request, limit)
    except TimeoutError:
        raise Refused(408, "upstream request timeout", "request_timeout") from None
    return parse(raw)


def parse(raw: bytes) -> dict[str, Any]:
    """Return a JSON object; a 400 names the position of whatever is not plain JSON."""
    if not raw:
        raise Refused(400, "POST body is empty. Expecting a JSON dictionary.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _undecodable(f"not UTF-8 at byte {error.start}") from None
    _check_depth(text)
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise _undecodable(str(error)) from None
    except (ValueError, RecursionError) as error:
        words = str(error) if isinstance(error, _Problem) else "a number is too long"
        raise _undecodable(words) from None
    _check_surrogates(text, value)
    if not isinstance(value, dict):
        raise Refused(400, "POST body should be a JSON dictionary.")
    return value


def _check_headers(request: Request, limit: int) -> None:
    kind = request.headers.get("content-type", "").partition(";")
    charset = kind[2].strip().lower()
    if kind[0].strip().lower() != "application/json" or charset not in _CHARSETS:
        raise Refused(415, "Expects Content-Type to be application/json")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "Expects a body without Content-Encoding")
    length = request.headers.get("content-length")
    if length is not None and length.isdecimal() and int(length) > limit:
        raise _too_large(limit)


_CHARSETS = ("", "charset=utf-8", 'charset="utf-8"', "charset=utf8")


async def _read(request: Request, limit: int) -> bytes:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit:
            raise _too_large(limit)
    return bytes(raw)


def _too_large(limit: int) -> Refused:
    return Refused(413, f"The body is larger than {limit} bytes.", "request_too_large")


class _Problem(ValueError):
    """Our own words about JSON that Python would accept."""


def _check_depth(text: str) -> None:
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        mark = found[0]
        depth += 1 if mark in "[{" else -1 if mark in "]}" else 0
        if depth > _DEPTH_LIMIT:
            raise _undecodable(f"nested deeper than {_DEPTH_LIMIT} levels (char {found.start()})")


def _no_constant(name: str) -> None:
    raise _Problem(f"{name} is not a JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _KEY_LIMIT:
        raise _Problem(f"an object has more than {_KEY_LIMIT} keys")
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise _Problem(f"the key {json.dumps(key[:40])} stands twice in one object")
        made[key] = value
    return made


def _check_surrogates(text: str, value: Any) -> None:
    """Refuse half a UTF-16 pair: no tokenizer can read it and no answer can quote it."""
    found = re.search(r"\\u[dD][89a-fA-F]", text)
    if found is None:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _undecodable(f"half a surrogate pair (near char {found.start()})") from None


def _undecodable(words: str) -> Refused:
    return Refused(400, f"POST body could not be decoded as JSON: {words}", "invalid_json")
