"""The routes under `/chat/`: files for everybody, the API for who is signed in."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any  # JSON on its way in and out

from hieno.endpoint import dialect
from hieno.endpoint.credentials import KeyFile
from hieno.endpoint.dialect import Problem, Reply
from hieno.endpoint.fleet import Fleet
from hieno.endpoint.incoming import Incoming, Refused, only
from hieno.endpoint.outgoing import Outgoing
from hieno.endpoint.page import assets, feedback, questions
from hieno.endpoint.page.visitors import Visitor, Visitors
from hieno.endpoint.state import BASE
from hieno.endpoint.supervisor import Deployment
from hieno.endpoint.upstream import Call, Headers

ROOT = "/chat/"
API = "/chat/api/"

SESSION_REQUIRED = Problem(401, "session_required", "sign in with a link of `hieno chat --web`")
CODE_REFUSED = Problem(
    401, "code_refused", "the link is wrong, used or too old; `hieno chat --web` makes a new one"
)
FOREIGN = Problem(403, "forbidden_origin", "the request comes from a page of another address")
MALFORMED = Problem(400, "invalid_request", "the request is not what this page sends")
FEEDBACK_OFF = Problem(403, "feedback_off", "`endpoint.feedback` is off: nothing was stored")
FEEDBACK_FULL = Problem(507, "feedback_full", "the file of feedback is full: nothing was stored")

# Answers one call from a deployment, within the gateway's limits.
Ask = Callable[[Deployment, Call, Incoming, Outgoing], Awaitable[None]]

_CODE = re.compile(r"[A-Za-z0-9_-]{22}")


class ChatPage:
    """The chat page of one endpoint."""

    def __init__(self, fleet: Fleet, keys: KeyFile, folder: Path, ask: Ask) -> None:
        self._fleet = fleet
        self._visitors = Visitors(folder, keys)
        self._files = assets.read()
        self._ask = ask

    async def answer(self, incoming: Incoming, outgoing: Outgoing, parent: Headers) -> None:
        """Answer a request whose path begins with `/chat`; for `parent` see `Incoming.call`."""
        path = incoming.raw_path.decode("latin-1")
        if path.startswith(API):
            return await self._call(path.removeprefix(API), incoming, outgoing, parent)
        if incoming.method not in ("GET", "HEAD"):
            raise Refused(dialect.NO_METHOD.allowing(("GET", "HEAD")))
        if path == ROOT.rstrip("/"):
            return await outgoing.reply(Reply(308, b"", [(b"location", ROOT.encode())]))
        asset = self._files.get(path.removeprefix(ROOT))
        if asset is None:
            raise Refused(dialect.NO_ROUTE)
        await outgoing.reply(asset.reply(only(incoming.headers, b"if-none-match")))

    async def _call(
        self, name: str, incoming: Incoming, outgoing: Outgoing, parent: Headers
    ) -> None:
        _check_origin(incoming)
        match incoming.method, name:
            case "POST", "session":
                return await self._sign_in(incoming, outgoing)
            case "GET", "session":
                visitor = self._visitor(incoming)
                return await outgoing.reply(_json(self._describe(visitor)))
            case "POST", "completions":
                return await self._complete(self._visitor(incoming), incoming, outgoing, parent)
            case "POST", "feedback":
                self._visitor(incoming)
                return await self._take(incoming, outgoing)
        raise Refused(dialect.NO_ROUTE)

    async def _sign_in(self, incoming: Incoming, outgoing: Outgoing) -> None:
        code = (await self._body(incoming, outgoing)).get("code")
        admitted = None
        if isinstance(code, str) and _CODE.fullmatch(code):
            admitted = await self._visitors.admit(code)
        if admitted is None:
            raise Refused(CODE_REFUSED)
        token, seconds = admitted
        cookie = (
            f"{self._cookie}={token}; Path={API}; Max-Age={seconds:.0f}; HttpOnly; SameSite=Strict"
        )
        await outgoing.reply(_json({}, (b"set-cookie", cookie.encode())))

    def _visitor(self, incoming: Incoming) -> Visitor:
        pairs = [
            pair.strip().partition("=")
            for name, value in incoming.headers
            if name == b"cookie"
            for pair in value.decode("latin-1").split(";")
        ]
        for name, _, value in pairs:
            visitor = self._visitors.recognise(value) if name == self._cookie else None
            if visitor:
                return visitor
        raise Refused(SESSION_REQUIRED)

    @property
    def _cookie(self) -> str:
        # a browser gives all ports of an address the same cookies: each endpoint has its own name
        return f"hieno-chat-{self._fleet.desired.port}"

    def _describe(self, visitor: Visitor) -> dict[str, Any]:
        desired, deployments = self._fleet.desired, self._fleet.deployments
        live = desired.live()
        guest = {"requests": visitor.requests, "tokens": visitor.tokens}
        return {
            "title": desired.page.title or desired.name,
            "version": deployments[live].spec.version if live else "",
            "state": "ready" if self._fleet.is_ready() else "loading",
            "base": BASE in deployments,
            "max_tokens": desired.page.max_new_tokens,
            "feedback": bool(desired.page.feedback),
            "guest": None if visitor.requests is None else guest,
        }

    async def _complete(
        self, visitor: Visitor, incoming: Incoming, outgoing: Outgoing, parent: Headers
    ) -> None:
        call = await incoming.call(self._fleet.desired.limits, outgoing.request_id, parent)
        question = questions.read(_parsed(call.body), most=self._fleet.desired.page.max_new_tokens)
        base = question.who == BASE
        chosen = self._fleet.deployments.get(BASE) if base else self._fleet.choose()
        if chosen is None:
            raise Refused(dialect.NO_DEPLOYMENT if base else dialect.NO_TRAFFIC)
        try:
            with questions.paid(visitor, question) as account:
                outgoing.tap = account.count
                await self._ask(chosen, account.call(call, chosen.name), incoming, outgoing)
        finally:  # also where the reader has left
            if visitor.requests is not None:
                await self._visitors.save()

    async def _take(self, incoming: Incoming, outgoing: Outgoing) -> None:
        path = self._fleet.desired.page.feedback
        if not path:
            raise Refused(FEEDBACK_OFF)
        try:
            row = feedback.read(await self._body(incoming, outgoing))
        except ValueError as error:
            raise Refused(Problem(400, "invalid_request", str(error))) from None
        try:
            await asyncio.to_thread(feedback.append, Path(path), row)
        except (feedback.Full, OSError):  # `status` and the owner's disk say more than a guest may
            raise Refused(FEEDBACK_FULL) from None
        await outgoing.reply(_json({}))

    async def _body(self, incoming: Incoming, outgoing: Outgoing) -> dict[str, Any]:
        call = await incoming.call(self._fleet.desired.limits, outgoing.request_id)
        return _parsed(call.body)


def _check_origin(incoming: Incoming) -> None:
    """Refuse what another page made a browser send; the host was checked before."""
    host = only(incoming.headers, b"host") or b""
    origins = [value for name, value in incoming.headers if name == b"origin"]
    sites = [value for name, value in incoming.headers if name == b"sec-fetch-site"]
    ours = b"http://" + host.lower()
    same = all(origin == ours for origin in origins) and set(sites) <= {b"same-origin"}
    if not same or (incoming.method != "GET" and not origins):
        raise Refused(FOREIGN)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(MALFORMED) from None
    if not isinstance(found, dict):
        raise Refused(MALFORMED)
    return found


def _json(value: dict[str, Any], *headers: tuple[bytes, bytes]) -> Reply:
    kind = (b"content-type", b"application/json")
    return Reply(200, json.dumps(value).encode(), [kind, (b"cache-control", b"no-store"), *headers])
