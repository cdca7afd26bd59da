"""A thousand requests at once against a limit of 32, and callers who leave: `make bench-storm`.

The demo model behind its gateway. All connections are open before anybody asks, then everybody
does. Who is refused is timed here, and in the gateway by its own log. The speed of eight streams
is taken before the storm and two seconds after its last refusal or answer. Then callers leave in
the middle of a stream, one after the other, and the container is asked when their place is free.

Environment: PARALLEL (1000), LIMIT (32), LEAVING (20).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON

import httpx
import psutil

from benchmarks.serve import questions, servers
from benchmarks.serve.__main__ import conditions
from benchmarks.serve.prompts import Prompts

PARALLEL = int(os.environ.get("PARALLEL", "1000"))
LIMIT = int(os.environ.get("LIMIT", "32"))
LEAVING = int(os.environ.get("LEAVING", "20"))
STREAMS, TOKENS = 8, 32
ENGINE = "hieno.serve.engines.openvino_process"
REFUSED = re.compile(r" 429 (\d+)ms ")


@dataclass(frozen=True)
class Ended:
    """The status of one request, and the seconds from the start of the storm to its end."""

    status: int
    seconds: float
    retry_after: bool


def main() -> None:
    """Measure, print the conditions, and print one JSON object as the last line."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")
    root = servers.package()
    prompts = Prompts(root)
    conditions(root)
    with (
        tempfile.TemporaryDirectory(prefix="hieno-bench-") as folder,
        servers.endpoint(root, Path(folder), limit=LIMIT) as found,
    ):
        ask = questions.over_http(found.gateway, found.key)
        ask([prompts.take()], 1)
        before = ask([prompts.take() for _ in range(STREAMS)], STREAMS).rate
        asyncio.run(storm(found, prompts))  # the first opens files and grows buffers
        held = memory(found)
        ended = asyncio.run(storm(found, prompts))
        time.sleep(2)
        after = ask([prompts.take() for _ in range(STREAMS)], STREAMS).rate
        grown = memory(found) - held
        left = [asyncio.run(leave(found, prompts.take())) for _ in range(LEAVING)]
        inside = refusals(found.folder)
    refused = [one for one in ended if one.status == 429]
    print(
        json.dumps(
            {
                "served": sum(one.status == 200 for one in ended),
                "refused": len(refused),
                "without_retry_after": sum(not one.retry_after for one in refused),
                "others": PARALLEL - len(refused) - sum(one.status == 200 for one in ended),
                "all_refused_s": round(max(one.seconds for one in refused), 3),
                "refusal_p99_ms_in_server": inside[int(0.99 * len(inside))],
                "memory_grown_mb": round(grown / 1e6, 1),
                "speed_2_s_later": round(after / before, 3),
                "place_free_s_most": round(max(left), 3),
            }
        )
    )


async def storm(found: servers.Endpoint, prompts: Prompts) -> Sequence[Ended]:
    """Connect everybody, then let everybody ask; return how each ended."""
    host, _, port = found.gateway.removeprefix("http://").partition(":")
    everyone = asyncio.Barrier(PARALLEL)
    began = 0.0

    async def one(body: bytes) -> Ended:
        nonlocal began
        reader, writer = await asyncio.open_connection(host, int(port))
        await everyone.wait()
        began = began or time.perf_counter()
        writer.write(request(found, body))
        answer = await reader.read()
        writer.close()
        head, _, _ = answer.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        return Ended(status, time.perf_counter() - began, b"\r\nretry-after:" in head.lower())

    text = {"max_tokens": TOKENS, "model": "bench", "ignore_eos": True}
    bodies = [json.dumps(text | {"prompt": prompts.take()}).encode() for _ in range(PARALLEL)]
    return await asyncio.gather(*map(one, bodies))


def request(found: servers.Endpoint, body: bytes) -> bytes:
    """Return a request to `/v1/completions` as it goes over the wire."""
    head = (
        "POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {found.key}\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


async def leave(found: servers.Endpoint, prompt: str) -> float:
    """Hang up after the first token; return the seconds until the container has nobody inside."""
    body: dict[str, Any] = {"prompt": prompt, "max_tokens": 1000, "stream": True}
    body |= {"model": "bench", "ignore_eos": True}
    async with questions.posted(found.gateway, found.key, body) as answer:
        async for line in answer:
            if line.startswith(b"data: {"):
                break
    began = time.perf_counter()
    async with httpx.AsyncClient(trust_env=False) as client:
        while (await client.get(f"{found.container}/health")).json()["in_flight"]:
            await asyncio.sleep(0.005)
    return time.perf_counter() - began


def memory(found: servers.Endpoint) -> int:
    """Return the bytes that gateway and container hold; the engine's cache fills to its bound."""
    ours = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(found.folder) in " ".join(process.info["cmdline"] or ())
    ]
    family = {each for process in ours for each in (process, *process.children(recursive=True))}
    servers_alone = [each for each in family if ENGINE not in each.cmdline()]
    return sum(process.memory_info().rss for process in servers_alone)


def refusals(folder: Path) -> list[int]:
    """Return the milliseconds of every refusal by the gateway's own log, sorted."""
    text = "".join(path.read_text("utf-8") for path in folder.glob("*.log*"))
    return sorted(int(took) for took in REFUSED.findall(text))


if __name__ == "__main__":
    main()
