"""A stand-in for `vllm serve`: its routes, arguments and events, as the engine uses them.

    python vllm_server.py serve FOLDER --port N ...

It answers with the model in FOLDER, computed by our own transformers engine, and puts up to two
tokens into an event. A prompt that begins with one of the tokens below does what its name says.
`calls.jsonl` in the folder named by VLLM_STAND_IN gets a line for each start, request and
cancellation; a file `broken` there ends it at its start. It does not prove that vLLM itself takes
these arguments, computes these answers, is fast, or runs at all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from hieno.config import Serve
from hieno.serve.engines import Sampling
from hieno.serve.engines.choice import open_engine

DIE, REFUSE, FAIL, END = 3, 4, 5, 6


def place() -> Path:
    return Path(os.environ["VLLM_STAND_IN"])


def record(**what: object) -> None:
    with (place() / "calls.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")


def make_app(folder: Path, most: int) -> FastAPI:
    engine = open_engine(folder, name="transformers", settings=Serve(max_requests=most))
    app = FastAPI()

    @app.get("/health")
    async def health() -> Response:
        return Response()

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        body = await request.json()
        record(body=body)
        if request.headers["authorization"] != f"Bearer {os.environ['VLLM_API_KEY']}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        if body["prompt"][0] == DIE:
            os._exit(9)
        if body["prompt"][0] == REFUSE:
            return JSONResponse({"error": {"message": f"no: {body['prompt']}"}}, 400)
        return StreamingResponse(events(body), media_type="text/event-stream")

    async def events(body: dict[str, Any]) -> AsyncIterator[str]:
        if body["prompt"][0] == FAIL:
            yield event({"error": {"message": "out of memory at 0x7f"}})
        elif body["prompt"][0] != END:
            sampling = Sampling(
                max_new_tokens=body["max_tokens"],
                temperature=body["temperature"],
                top_p=body["top_p"],
                top_k=body["top_k"],
                repetition_penalty=body["repetition_penalty"],
                seed=body.get("seed"),
                ignore_eos=body["ignore_eos"],
            )
            waiting: list[int] = []
            try:
                async with aclosing(engine.generate(body["prompt"], sampling)) as tokens:
                    async for token in tokens:
                        waiting.append(token.id)
                        if token.finish or len(waiting) == 2:
                            yield event({"choices": [choice(waiting, token.finish)]})
                            waiting = []
            except (asyncio.CancelledError, GeneratorExit):
                record(cancelled=True)
                raise
        yield "data: [DONE]\n\n"

    return app


def event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def choice(ids: list[int], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "text": "", "logprobs": None, "finish_reason": finish, "token_ids": ids}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--max-model-len", type=int, required=True)
    parser.add_argument("--max-num-seqs", type=int, required=True)
    parser.add_argument("--kv-cache-memory-bytes", type=int, required=True)
    parser.add_argument("--generation-config", required=True)
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    options = parser.parse_args()
    record(pid=os.getpid(), arguments=sys.argv[1:])
    if (place() / "broken").exists():
        print("CUDA is not available", file=sys.stderr)
        sys.exit(1)
    app = make_app(options.folder, options.max_num_seqs)
    uvicorn.run(app, host=options.host, port=options.port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
