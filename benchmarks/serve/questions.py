"""Asking a server one after the other or at once, and counting what comes back."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any  # JSON, and the engine's own types

from benchmarks.serve.results import Measured
from benchmarks.serve.servers import Endpoint
from benchmarks.serve.settings import PAIRS, TOKENS

Ask = Callable[[list[str], int], Measured]
Count = Callable[[Sequence[str]], list[list[int]]]


def of_mlflow(url: str, count: Count) -> Ask:
    """Ask MLflow's server; every answer has TOKENS tokens by its model's own settings.

    It sends texts only, so they are counted once more: text and tokens need not agree exactly.
    """
    import httpx

    def ask(prompts: list[str], streams: int) -> Measured:
        texts: list[str] = []

        async def run() -> Measured:
            async with httpx.AsyncClient(timeout=1800, trust_env=False) as client:

                async def one(prompt: str) -> int:
                    answer = await client.post(f"{url}/invocations", json={"inputs": [prompt]})
                    assert answer.status_code == 200, answer.text
                    found = answer.json()
                    [text] = found["predictions"] if isinstance(found, dict) else found
                    texts.append(text)
                    return TOKENS

                started = time.perf_counter()
                counts = await in_turns(streams, prompts, one)
                return Measured(total(counts) / (time.perf_counter() - started))

        measured = asyncio.run(run())
        told = statistics.mean(len(ids) for ids in count(texts))
        assert 0.7 * TOKENS < told < 1.3 * TOKENS, f"MLflow's answers have {told} tokens"
        return measured

    return ask


def of_engine(engine: Any, count: Count) -> Ask:
    """Ask an engine in this process."""
    from hieno.serve.engines import Sampling

    sampling = Sampling(max_new_tokens=TOKENS, ignore_eos=True)

    async def one(prompt: list[int]) -> int:
        return len([token async for token in engine.generate(prompt, sampling)])

    def ask(prompts: list[str], streams: int) -> Measured:
        ids = count(prompts)
        started = time.perf_counter()
        counts = asyncio.run(in_turns(streams, ids, one))
        return Measured(total(counts) / (time.perf_counter() - started))

    return ask


def over_http(url: str, key: str) -> Ask:
    """Ask `/v1/completions` for streams of events."""

    async def one(prompt: str) -> tuple[int, float]:
        body = {"prompt": prompt, "max_tokens": TOKENS, "stream": True, "ignore_eos": True}
        options = {"model": "bench", "stream_options": {"include_usage": True}}
        started = time.perf_counter()
        first, last = 0.0, b""
        async with posted(url, key, body | options) as answer:
            async for line in answer:
                if line.startswith(b"data: {"):
                    first = first or time.perf_counter() - started
                    last = line
        return int(json.loads(last[6:])["usage"]["completion_tokens"]), first

    async def run(prompts: list[str], streams: int) -> Measured:
        started = time.perf_counter()
        found = await in_turns(streams, prompts, one)
        seconds = time.perf_counter() - started
        firsts = tuple(first for _, first in found)
        return Measured(total([count for count, _ in found]) / seconds, firsts)

    return lambda prompts, streams: asyncio.run(run(prompts, streams))


async def added(found: Endpoint, prompt: str) -> float:
    """Return the milliseconds that the gateway adds to a short request, at the median of pairs."""

    async def seconds(url: str, key: str) -> float:
        started = time.perf_counter()
        body = {"model": "bench", "prompt": prompt, "max_tokens": 1}
        async with posted(url, key, body) as answer:
            async for _ in answer:
                pass
        return time.perf_counter() - started

    differences = []
    for number in range(PAIRS + 5):
        # Now this one first, now that one: the second of a pair may profit from the first.
        order = [(found.gateway, found.key), (found.container, "")][:: 1 if number % 2 else -1]
        times = {url: await seconds(url, secret) for url, secret in order}
        if number >= 5:
            differences.append((times[found.gateway] - times[found.container]) * 1000)
    return round(statistics.median(differences), 2)


async def in_turns(streams: int, prompts: Sequence[Any], one: Callable[[Any], Any]) -> list[Any]:
    """Ask everything at once, or one after the other where there is one stream."""
    if streams > 1:
        return list(await asyncio.gather(*(one(prompt) for prompt in prompts[:streams])))
    return [await one(prompt) for prompt in prompts]


def total(counts: Sequence[int]) -> int:
    """Return the number of tokens, which must be what was asked for."""
    assert set(counts) == {TOKENS}, f"answers of {sorted(set(counts))} tokens, not {TOKENS}"
    return sum(counts)


@asynccontextmanager
async def posted(url: str, key: str, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Post to `/v1/completions` and yield the answer's lines.

    A client library would take a good part of the cores that the model needs.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        raw = json.dumps(body).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        )
        head += f"authorization: Bearer {key}\r\n" if key else ""
        head += f"connection: close\r\ncontent-length: {len(raw)}\r\n\r\n"
        writer.write(head.encode() + raw)
        status = await reader.readline()
        assert b" 200 " in status, (status, await reader.read())
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()
