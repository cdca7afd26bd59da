"""The page's files, which anybody may read: they hold no secret and no chat."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files

from hieno.endpoint.dialect import Reply
from hieno.endpoint.upstream import Headers

TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}

# Nothing but the page's own files and its own API; text that became markup would not run either.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Headers = [
    (b"content-security-policy", POLICY),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cache-control", b"no-cache"),  # asked for each time, and nearly always still the same
]


@dataclass(frozen=True)
class Asset:
    """One file, as it is sent."""

    body: bytes
    kind: bytes
    etag: bytes

    def reply(self, known: bytes | None) -> Reply:
        """Return the file, or only that it is the one that the browser knows."""
        headers = [*HEADERS, (b"etag", self.etag)]
        if known is not None and self.etag in [one.strip() for one in known.split(b",")]:
            return Reply(304, b"", headers)
        return Reply(200, self.body, [*headers, (b"content-type", self.kind)])


def read() -> Mapping[str, Asset]:
    """Return every file of the page by its name; the index also by the empty name.

    They are read once, so that no address can ever lead to another file.
    """
    found = {}
    for file in package_files("hieno.chat").joinpath("page").iterdir():
        suffix = file.name.rpartition(".")[2]
        if suffix in TYPES:
            body = file.read_bytes()
            etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
            found[file.name] = Asset(body, TYPES[suffix], etag)
    return {**found, "": found["index.html"]}
