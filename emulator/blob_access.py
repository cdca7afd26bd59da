"""The gate before the blobs: whose call it is, and whether it may.

Azurite checks signatures and nothing else. Here a call with a key, or with a signature that a key
made, is refused where the account does not allow keys; a token's principal needs a role for blobs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio.to_thread
import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from emulator.arm.errors import ArmError
from emulator.ml import rights
from emulator.storage_account import AUDIENCE

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from emulator.cloud import Cloud

_READS = ("GET", "HEAD")
_DROPPED = frozenset((b"connection", b"keep-alive", b"transfer-encoding"))


class Gate:
    """The application for the host names of all storage accounts."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._clients: dict[int, httpx.AsyncClient] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call (the interface of ASGI)."""
        request = Request(scope, receive)
        name = (request.url.hostname or "").split(".")[0]
        account = self._cloud.storage.find(name)
        if account is None:
            response = _refused(404, "ResourceNotFound", f"There is no storage account '{name}'.")
        else:
            try:
                await anyio.to_thread.run_sync(self._check, name, request)
                response = await self._pass_on(account.port, request)
            except ArmError as error:
                response = _refused(error.status, error.code, error.message)
        await response(scope, receive, send)

    def _check(self, name: str, request: Request) -> None:
        storage = self._cloud.storage.resource(name)
        if storage is None:
            return
        given = request.headers.get("authorization", "")
        if given.lower().startswith("bearer "):
            principal = self._cloud.entra.verify(
                given, (AUDIENCE, f"https://{request.url.hostname}")
            )
            write = request.method not in _READS and request.query_params.get("comp") != "batch"
            if not rights.may(self._cloud, principal.id, storage.id.text, write=write):
                raise ArmError(
                    403,
                    "AuthorizationPermissionMismatch",
                    "This request is not authorized to perform this operation using this"
                    " permission.",
                )
            return
        by_key = given.lower().startswith("sharedkey") or (
            "sig" in request.query_params and "skoid" not in request.query_params
        )
        if by_key and storage.properties.get("allowSharedKeyAccess") is False:
            message = "Key based authentication is not permitted on this storage account."
            raise ArmError(403, "KeyBasedAuthenticationNotPermitted", message)

    async def _pass_on(self, port: int, request: Request) -> Response:
        client = self._client(port)
        raw = request.scope.get("raw_path") or request.url.path.encode()
        query = request.scope["query_string"]
        target = raw.split(b"?")[0] + (b"?" + query if query else b"")
        sent = httpx.Request(
            request.method,
            httpx.URL(f"https://127.0.0.1:{port}").copy_with(raw_path=target),
            headers=[pair for pair in request.headers.raw if pair[0].lower() not in _DROPPED],
            content=request.stream() if _has_body(request) else None,
        )
        found = await client.send(sent, stream=True)
        response = StreamingResponse(_chunks(found), found.status_code)
        response.raw_headers = [
            pair for pair in found.headers.raw if pair[0].lower() not in _DROPPED
        ]
        return response

    def _client(self, port: int) -> httpx.AsyncClient:
        if port not in self._clients:
            # no connection is kept: nothing is left open when the run ends
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            context = self._cloud.certificates.trust()
            self._clients[port] = httpx.AsyncClient(
                trust_env=False, verify=context, timeout=120.0, limits=limits
            )
        return self._clients[port]


def _has_body(request: Request) -> bool:
    return (
        request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    )


async def _chunks(found: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in found.aiter_raw():
            yield chunk
    finally:
        await found.aclose()


def _refused(status: int, code: str, message: str) -> Response:
    told = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    body = f'<?xml version="1.0" encoding="utf-8"?>{told}'
    headers = {"x-ms-error-code": code}
    return Response(body, status, headers=headers, media_type="application/xml")
