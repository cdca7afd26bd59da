"""Pass one request to a container and its answer back, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace

from hieno.endpoint import dialect
from hieno.endpoint.dialect import Problem
from hieno.endpoint.outgoing import Outgoing
from hieno.endpoint.remote import Remote
from hieno.endpoint.state import Limits
from hieno.endpoint.supervisor import Deployment, Instance
from hieno.endpoint.upstream import (
    Answer,
    Call,
    Headers,
    UpstreamGone,
    UpstreamRefuses,
    UpstreamTimeout,
    passed_on,
)

MOST_KEPT = 1_000_000  # bytes of an answer that wait in memory until it is whole

# Headers that the gateway sets itself, and those that would open it to pages of other origins.
_OURS = frozenset(
    b"server date set-cookie x-request-id x-content-type-options azureml-model-deployment "
    b"access-control-allow-origin access-control-allow-credentials access-control-max-age "
    b"access-control-allow-headers access-control-allow-methods "
    b"access-control-expose-headers".split()
)


# What another endpoint says for itself, in our words.
_REFUSALS = {404: dialect.NO_TRAFFIC, 408: dialect.TIMED_OUT, 429: dialect.TOO_MANY}


class CutOff(Exception):
    """The container went away in the middle of an answer that cannot say so."""


async def relay(
    deployment: Deployment, call: Call, outgoing: Outgoing, limits: Limits
) -> Problem | None:
    """Answer a call from one of a deployment's instances; return why not, if nothing was sent.

    An instance that breaks before its answer is whole, or before its stream begins, is replaced
    by another once: to generate an answer has no side effects. Raises `CutOff` so that the server
    drops the connection where a whole answer can no longer arrive and the client could not tell
    otherwise.
    """
    async with AsyncExitStack() as stack:
        answer = await _open(stack, deployment, call, limits)
        if isinstance(answer, Problem):
            outgoing.failed = True
            return answer
        outgoing.failed = answer.status >= 500
        azure = not dialect.speaks_openai(call.target.decode("latin-1").partition("?")[0])
        await outgoing.start(*_head(answer, azure=azure))
        try:
            async for chunk in answer.chunks:
                await outgoing.chunk(chunk)
        except (UpstreamGone, UpstreamTimeout) as error:
            outgoing.failed = True
            if not _is_stream(answer):
                raise CutOff(deployment.name) from error
            await outgoing.chunk(dialect.broken_stream())
        await outgoing.finish()
    return None


async def drop(deployment: Deployment, call: Call, limits: Limits) -> bool:
    """Send a copy of a call and forget the answer; return whether it was a good one."""
    async with AsyncExitStack() as stack:
        answer = await _open(stack, deployment, call, limits)
        if isinstance(answer, Problem):
            return False
        try:
            async for _ in answer.chunks:
                continue
        except (UpstreamGone, UpstreamTimeout):
            return False
        return answer.status < 500


async def _open(
    stack: AsyncExitStack, deployment: Deployment, call: Call, limits: Limits
) -> Answer | Problem:
    clock = asyncio.get_running_loop().time
    deadline = clock() + limits.request_timeout
    tried: Instance | Remote | None = None
    for _ in range(2):
        instance = await deployment.instance(timeout=deadline - clock(), but=tried)
        if instance is None:
            return _not_ready(deployment)
        attempt = await stack.enter_async_context(AsyncExitStack())
        attempt.enter_context(_counted(instance))
        try:
            left = max(0.001, deadline - clock())
            opened = instance.upstream.open(call, timeout=left)
            return await _whole(await attempt.enter_async_context(opened))
        except UpstreamTimeout:
            return dialect.TIMED_OUT
        except UpstreamRefuses as refused:
            return _REFUSALS[refused.status]
        except UpstreamGone:
            await attempt.aclose()
            tried = instance
    return dialect.NOT_READY


@contextmanager
def _counted(instance: Instance | Remote) -> Iterator[None]:
    """Count a request while an instance is answering it: the one with the least is asked next."""
    instance.in_flight += 1
    try:
        yield
    finally:
        instance.in_flight -= 1


def _not_ready(deployment: Deployment) -> Problem:
    if not deployment.refusal:
        return dialect.NOT_READY
    return replace(dialect.NOT_READY, message=deployment.refusal)


async def _whole(answer: Answer) -> Answer:
    """Wait for all of an answer that is small and of known length; others come as they come."""
    length = _header(answer, b"content-length")
    if not length.isdigit() or int(length) > MOST_KEPT:
        return answer
    body = b"".join([chunk async for chunk in answer.chunks])
    return replace(answer, chunks=_one(body))


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _head(answer: Answer, *, azure: bool) -> tuple[int, Headers]:
    headers = passed_on(answer.headers, without=_OURS)
    if not azure or answer.status == 200:
        return answer.status, headers
    headers.append((b"ms-azureml-model-error-reason", b"model_error"))
    headers.append((b"ms-azureml-model-error-statuscode", str(answer.status).encode()))
    return 424, headers


def _is_stream(answer: Answer) -> bool:
    return _header(answer, b"content-type").lower().startswith(b"text/event-stream")


def _header(answer: Answer, wanted: bytes) -> bytes:
    return next((value for name, value in answer.headers if name.lower() == wanted), b"")
