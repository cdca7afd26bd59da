"""One call as it passes: what came in, what went out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any  # Any: bodies are JSON
from urllib.parse import parse_qsl, unquote

from starlette.datastructures import Headers

from emulator.trace import Exchange

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

_RECORDED = 1 << 19  # bytes of a body; longer ones are data, not calls


@dataclass
class Recording:
    """A call between its server and its application."""

    scope: Scope
    host: str
    inner_receive: Receive
    inner_send: Send
    status: int = 0
    sent: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)

    path: str = field(init=False)

    def __post_init__(self) -> None:
        self.path = unquote(self.scope["path"])  # an application may rewrite the scope's

    async def receive(self) -> Message:
        """Pass a part of the request on."""
        message = await self.inner_receive()
        if message["type"] == "http.request" and len(self.sent) <= _RECORDED:
            self.sent += message.get("body", b"")
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body" and len(self.answered) <= _RECORDED:
            self.answered += message.get("body", b"")
        await self.inner_send(message)

    def exchange(self, fault: str) -> Exchange:
        """Return what was said; what is said to sign in is nobody's business."""
        query = dict(parse_qsl(self.scope["query_string"].decode("latin-1")))
        headers = Headers(scope=self.scope)
        secret = self.host.startswith("login.")
        return Exchange(
            self.scope["method"],
            self.host,
            self.path,
            query,
            self.status,
            None if secret else _json(self.sent),
            None if secret else _json(self.answered),
            headers.get("user-agent", ""),
            fault,
        )


def _json(body: bytearray) -> Any:
    if not body or len(body) > _RECORDED:
        return None
    try:
        return json.loads(bytes(body))
    except ValueError:
        return None
