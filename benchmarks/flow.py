"""What a flow costs on top of its endpoint: `flow serve` and the agent host against a direct call.

The endpoint is a stub in a process of its own that answers at once, or word by word, so that
nothing but the flow is measured. Requests go in turns to the stub, the prompt flow and the agent;
then one stream and 32 at the same time, in turns, over a reply that takes a known time.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # JSON

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import SecretStr

from hieno import flow, ports, processes
from hieno.flow.frameworks import FRAMEWORKS

REQUESTS = 200
STREAMS, ROUNDS = 32, 5
WORDS, PAUSE = 40, 0.05  # a reply of two seconds, as of a small model
KEY = "benchmark"


def main() -> None:
    """Print the conditions, a table, and the numbers as one JSON object."""
    with tempfile.TemporaryDirectory() as folder, stub(Path(folder)) as url:
        found = measure(Path(folder), url)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
    print(
        f"conditions: Python {platform.python_version()}, {os.cpu_count()} cores, load {load}, "
        f"{REQUESTS} requests in turns, {ROUNDS} rounds of 1 and {STREAMS} streams of "
        f"{WORDS} words, {PAUSE * 1000:.0f} ms apart; stub, flow and client share the machine"
    )
    for name, value in found.items():
        print(f"{name:32} {value:10.4f}")
    print(json.dumps(found))


def measure(folder: Path, url: str) -> dict[str, float]:
    """Return the numbers of every way to the stub."""
    servers = {}
    try:
        for name, framework in FRAMEWORKS.items():
            project, state = folder / name, folder / f"{name}.state"
            flow.init(project, name="stub", framework=framework)
            servers[name] = flow.start(project, url, SecretStr(KEY), state=state, say=_say)
        found = _added({name: served.url for name, served in servers.items()}, url)
        for name, served in servers.items():
            found |= asyncio.run(_streams(name, f"{served.url}score"))
        return found
    finally:
        for name in servers:
            flow.stop(folder / f"{name}.state")


def _added(servers: dict[str, str], url: str) -> dict[str, float]:
    direct = {"input_data": [[{"role": "user", "content": "hi"}]]}
    asked: dict[str, tuple[str, Any]] = {"direct": (f"{url}/score", direct)}
    asked |= {name: (f"{place}score", {"question": "hi"}) for name, place in servers.items()}
    times: dict[str, list[float]] = {name: [] for name in asked}
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(headers=headers, trust_env=False, timeout=60) as client:
        for number in range(REQUESTS + 10):
            for name, (place, body) in asked.items():
                began = time.perf_counter()
                client.post(place, json=body).raise_for_status()
                if number >= 10:  # the first ones open connections and fill caches
                    times[name].append((time.perf_counter() - began) * 1000)
    middle = {name: statistics.median(found) for name, found in times.items()}
    found = {"direct_ms": round(middle["direct"], 3)}
    for name in servers:
        added = [one - other for one, other in zip(times[name], times["direct"], strict=True)]
        found[f"{_short(name)}_added_ms"] = round(statistics.median(added), 3)
        found[f"{_short(name)}_added_p95_ms"] = round(sorted(added)[int(len(added) * 0.95)], 3)
    return found


async def _streams(name: str, place: str) -> dict[str, float]:
    # A connection of the round before may just be closing: each stream opens its own.
    limits = httpx.Limits(max_connections=STREAMS, max_keepalive_connections=0)
    async with httpx.AsyncClient(trust_env=False, timeout=120, limits=limits) as client:
        await _stream(client, place)
        ratios, one = [], []
        for _ in range(ROUNDS):
            alone = await _timed(client, place, 1)
            ratios.append(await _timed(client, place, STREAMS) / alone)
            one.append(alone)
    return {
        f"{_short(name)}_stream_s": round(statistics.median(one), 3),
        f"{_short(name)}_streams_{STREAMS}_ratio": round(statistics.median(ratios), 3),
        f"{_short(name)}_streams_{STREAMS}_ratio_worst": round(max(ratios), 3),
    }


async def _timed(client: httpx.AsyncClient, place: str, streams: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(_stream(client, place) for _ in range(streams)))
    return time.perf_counter() - began


async def _stream(client: httpx.AsyncClient, place: str) -> None:
    headers = {"accept": "text/event-stream"}
    asked = {"question": "slow"}
    async with client.stream("POST", place, json=asked, headers=headers) as reply:
        reply.raise_for_status()
        lines = [line async for line in reply.aiter_lines() if line.startswith("data:")]
    if len(lines) < WORDS:
        raise SystemExit(f"{place} sent {len(lines)} pieces, not {WORDS}")


@contextmanager
def stub(folder: Path) -> Iterator[str]:
    """Run the stub in a process of its own."""
    port = ports.free_port()
    command = [sys.executable, "-X", "utf8", __file__, "--stub", str(port)]
    process = processes.start_detached(command, log=folder / "stub.log")
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while not _answers(url):
        if time.monotonic() > deadline:
            raise SystemExit((folder / "stub.log").read_text(encoding="utf-8"))
        time.sleep(0.1)
    try:
        yield url
    finally:
        processes.stop(process)


def serve_stub(port: int) -> None:
    """Answer both of the endpoint's routes; the question `slow` gets its answer word by word."""
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/score")
    async def score(request: Request) -> Response:
        slow = (await request.json())["input_data"][0][-1]["content"] == "slow"
        if "event-stream" not in request.headers.get("accept", ""):
            return JSONResponse(["word"])
        return StreamingResponse(_events(slow, _score_piece, ""), media_type="text/event-stream")

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        slow = (await request.json())["messages"][-1]["content"] == "slow"
        end = f"{_chat_piece('', 'stop')}data: [DONE]\n\n"
        return StreamingResponse(_events(slow, _chat_piece, end), media_type="text/event-stream")

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


async def _events(slow: bool, piece: Any, end: str) -> AsyncIterator[str]:
    for _ in range(WORDS if slow else 1):
        if slow:
            await asyncio.sleep(PAUSE)
        yield piece("word ")
    if end:
        yield end


def _score_piece(text: str) -> str:
    return f"data: {json.dumps({'answer': text})}\n\n"


def _chat_piece(text: str, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    about = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    return f"data: {json.dumps(about | {'choices': [choice]})}\n\n"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _short(name: str) -> str:
    return {"promptflow": "flow", "agent-framework": "agent"}[name]


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    if "--stub" in sys.argv:
        serve_stub(int(sys.argv[-1]))
    else:
        main()
