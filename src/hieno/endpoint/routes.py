"""The addresses of an endpoint, their methods, and which need a key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True)
class Route:
    """An address, its methods, and whether it needs a key; one of `BELOW` has all below it."""

    path: str
    methods: tuple[str, ...]
    open: bool = False
    relayed: bool = False  # to a model; the gateway answers the others


ROUTES = (
    Route("/", ("GET", "HEAD"), open=True),
    Route("/health", ("GET", "HEAD"), open=True),
    Route("/score", ("POST", "GET", "OPTIONS"), relayed=True),
    Route("/swagger.json", ("GET",), relayed=True),
    Route("/metrics", ("GET",)),
    Route("/v1/", ("GET", "POST"), relayed=True),
    Route("/chat", ("GET", "HEAD"), open=True),
    Route("/chat/api/completions", ("POST",), open=True, relayed=True),  # needs a session
    Route("/chat/", ("GET", "HEAD", "POST"), open=True),  # its API needs a session
)
BELOW = ("/v1/", "/chat/")

_TARGET = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@%/-]+")


def find(raw_path: bytes) -> Route | None:
    """Return the route of a path as it came over the wire, or None where there is none."""
    if not _TARGET.fullmatch(raw_path):
        return None
    path = raw_path.decode("ascii")
    for route in ROUTES:
        if path == route.path:
            return route if path != "/v1/" else None
        if route.path in BELOW and path.startswith(route.path):
            return route if _stays_below(path) else None
    return None


def _stays_below(path: str) -> bool:
    parts = path.split("/")[2:]
    return all(unquote(part) not in ("", ".", "..") for part in parts)
