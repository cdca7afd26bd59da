"""An Azure endpoint behind the gateway: reached over TLS with a credential that only we hold.

The page and its clients talk to loopback with the gateway's own keys; the credential is added on
the way out, and whatever comes back is put into the words of a container first, because an Azure
endpoint wraps its container's refusals into 424.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
from pydantic import SecretStr

from hieno import keeper
from hieno.endpoint.pauses import doubled
from hieno.endpoint.state import DeploymentSpec, State
from hieno.endpoint.upstream import Answer, Call, UpstreamGone, UpstreamRefuses, opened
from hieno.processes import ProcessId

PROBE_PERIOD = 15.0
PROBE_AGAIN = 1.0  # seconds until the next look after one that failed; then twice as long each time
PROBE_TIMEOUT = 10.0
PROBES_MISSED = 3  # in a row: one connection that is lost on the way says nothing
SCORE, ROUTE = b"/score", b"hieno-route"
_OWN = (404, 408, 429)  # what an endpoint says for itself
_MODEL_STATUS = b"ms-azureml-model-error-statuscode"
_MODEL_REASON = b"ms-azureml-model-error-reason"


class Remote:
    """An endpoint elsewhere, in the place of a container."""

    port = 0
    restarts = 0
    kept: keeper.Kept | None = None

    def __init__(
        self, spec: DeploymentSpec, credential: SecretStr, *, changed: Callable[[], None]
    ) -> None:
        self.state: State = "idle"
        self.error = ""
        self.in_flight = 0
        self.upstream = Elsewhere(spec, credential)
        self._changed = changed

    def processes(self) -> list[ProcessId]:
        """Return nothing: what runs elsewhere is not ours to end."""
        return []

    async def run(self) -> None:
        """Look whether it can be reached until cancelled."""
        self._become("starting", "")
        missed = 0
        try:
            while True:
                problem = await self.upstream.problem()
                missed = missed + 1 if problem else 0
                if not missed:
                    self._become("ready", "")
                elif missed >= PROBES_MISSED:
                    self._become("failed", problem)
                await asyncio.sleep(_pause(missed))
        finally:
            await self.upstream.close()

    def _become(self, now: State, error: str) -> None:
        if (self.state, self.error) != (now, error):
            self.state, self.error = now, error
            self._changed()


def _pause(missed: int) -> float:
    """Return the seconds until the next look: few until it is certain that nobody answers."""
    if not missed:
        return PROBE_PERIOD
    return doubled(PROBE_AGAIN, max(0, missed - PROBES_MISSED), longest=PROBE_PERIOD)


class Elsewhere:
    """An upstream that wants a credential and speaks as an Azure endpoint does."""

    def __init__(self, spec: DeploymentSpec, credential: SecretStr) -> None:
        self._base = spec.url.rstrip("/")
        self._named = spec.remote_name.encode()
        self._only_score = spec.only_score
        self._credential = credential
        # Unlike on loopback, the machine's proxies and certificates are wanted here.
        self._client = httpx.AsyncClient(follow_redirects=False)

    @asynccontextmanager
    async def open(self, call: Call, *, timeout: float) -> AsyncIterator[Answer]:
        """Send a call with our credential; give the answer back as the container gave it."""
        bearer = b"Bearer " + self._credential.get_secret_value().encode()
        headers = [*call.headers, (b"authorization", bearer)]
        if self._named:
            headers.append((b"azureml-model-deployment", self._named))
        sent = replace(call, headers=headers)
        if self._only_score and call.target != SCORE:
            sent = replace(sent, target=SCORE, headers=[*headers, (ROUTE, call.target)])
        async with opened(self._client, self._base, sent, timeout=timeout) as answer:
            yield _as_container(answer)

    async def problem(self) -> str:
        """Return why the endpoint cannot be reached, or nothing; no model is asked for it."""
        try:
            answer = await self._client.get(f"{self._base}/", timeout=PROBE_TIMEOUT)
        except httpx.HTTPError as error:
            return f"{self._base} cannot be reached ({type(error).__name__})"
        return f"{self._base} answers {answer.status_code}" if answer.status_code >= 500 else ""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _as_container(answer: Answer) -> Answer:
    names = {name.lower(): value for name, value in answer.headers}
    told = names.get(_MODEL_STATUS, b"")
    if answer.status == 424 and told.isdigit() and b"200" <= told <= b"599" and len(told) == 3:
        kept = [
            (name, value)
            for name, value in answer.headers
            if name.lower() not in (_MODEL_STATUS, _MODEL_REASON)
        ]
        return replace(answer, status=int(told), headers=kept)
    if answer.status in (401, 403):
        raise UpstreamGone("the endpoint refuses the gateway's credential")
    if answer.status in _OWN:
        raise UpstreamRefuses(answer.status)
    return answer
