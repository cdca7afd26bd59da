"""vLLM on NVIDIA GPUs: a server of our own in an environment of its own, asked over loopback.

Its pins exclude ours, so it is another process; token ids go in and come out, and templates,
limits and refusals stay ours. It listens on loopback, wants a key that only this process knows,
and ends with it however that ends.

Contract: vLLM 0.33.0, `vllm/entrypoints/openai/completion`, read in its source; never run here.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any  # Any: JSON

from hieno import environments, keeper, ports, processes
from hieno.config import Serve
from hieno.errors import HienoError
from hieno.serve.engines import EngineFailed, Sampling, Token
from hieno.serve.model import Model

if TYPE_CHECKING:
    import httpx

START_SECONDS = 900.0  # compiled kernels of a first start
STEP_SECONDS = 300.0  # without a token, before an answer counts as lost
_NAME = "hieno"
_KEY = "VLLM_API_KEY"  # never in a process list


def open_vllm(model: Model, settings: Serve) -> Vllm:
    """Start `vllm serve` for a model folder and return when it can answer.

    Raises `HienoError` where it ends before, or is not ready within `START_SECONDS`.
    """
    python = environments.ensure("vllm", say=lambda line: print(line, file=sys.stderr, flush=True))
    port, key = ports.free_port(), secrets.token_hex(32)
    command = [str(python.parent / "vllm"), *_arguments(model, settings, port)]
    held = keeper.hold(command, environment={**os.environ, **_QUIET, _KEY: key})
    engine = Vllm(held, port, key, model.stop_ids)
    try:
        engine.wait_until_ready(START_SECONDS)
    except BaseException:
        engine.close()
        raise
    return engine


_QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


def _arguments(model: Model, settings: Serve, port: int) -> list[str]:
    return [
        *("serve", str(model.folder), "--served-model-name", _NAME),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", str(model.context), "--max-num-seqs", str(settings.max_requests)),
        # An amount and no share of the GPU: blue, green and base may have to fit beside another.
        *("--kv-cache-memory-bytes", str(int(settings.cache_gb * 1e9))),
        # Every setting comes from the request; a model's own defaults would change answers.
        *("--generation-config", "vllm"),
        "--disable-uvicorn-access-log",
    ]


class Vllm:
    """The engine: one running server, and a connection of its own for each answer."""

    name = "vllm"
    constrains = True

    def __init__(
        self, held: subprocess.Popen[bytes], port: int, key: str, stop_ids: frozenset[int]
    ) -> None:
        self._held = held
        self._port = port
        self._url = f"http://127.0.0.1:{port}"
        self._headers = {"authorization": f"Bearer {key}"}
        self._stop_ids = stop_ids

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[Token, None]:
        """Yield the answer's tokens; closing the iterator early frees its slot."""
        import httpx

        body = _body(prompt, sampling, self._stop_ids)
        count = 0
        try:
            # A connection of its own: vLLM drops an answer as soon as its connection closes.
            async with (
                httpx.AsyncClient(trust_env=False, verify=False, timeout=STEP_SECONDS) as client,  # noqa: S501 - loopback, no TLS
                client.stream(
                    "POST", f"{self._url}/v1/completions", json=body, headers=self._headers
                ) as answer,
            ):
                async for token_id in _token_ids(answer):
                    count += 1
                    token = self._token(token_id, count, sampling)
                    yield token
                    if token.finish is not None:
                        return
        except httpx.HTTPError as error:
            raise _lost(type(error).__name__) from None
        raise _lost("it ended before the answer did")

    def healthy(self) -> bool:
        """Tell whether the server still runs; how it is, its answers tell."""
        return self._held.poll() is None

    def close(self) -> None:
        """End the server and free the GPU's memory."""
        keeper.release(self._held)

    def wait_until_ready(self, seconds: float) -> None:
        """Return when the server can answer."""
        import httpx

        deadline = time.monotonic() + seconds
        with httpx.Client(trust_env=False, timeout=5) as client:
            while time.monotonic() < deadline:
                if not self.healthy():
                    raise HienoError(
                        f"vllm ended with exit code {self._held.returncode} before it was ready",
                        hint="the lines above say why; `--engine transformers` always works",
                    )
                try:
                    well = client.get(f"{self._url}/health").status_code == 200
                except httpx.TransportError:
                    well = False
                # Whoever took the port while ours was starting would be well too.
                if well and processes.listens(processes.identify(self._held.pid), self._port):
                    return
                time.sleep(0.1)
        raise HienoError(
            f"vllm was not ready after {seconds:g} seconds",
            hint="`nvidia-smi` shows what else uses the GPU; `--engine transformers` always works",
        )

    def _token(self, token_id: int, count: int, sampling: Sampling) -> Token:
        if token_id in self._stop_ids and not sampling.ignore_eos:
            return Token(token_id, "stop")
        return Token(token_id, "length" if count >= sampling.max_new_tokens else None)


def _body(prompt: Sequence[int], sampling: Sampling, stop_ids: frozenset[int]) -> Mapping[str, Any]:
    body: dict[str, Any] = {
        "model": _NAME,
        "prompt": list(prompt),
        "max_tokens": sampling.max_new_tokens,
        "temperature": 0.0 if sampling.greedy else sampling.temperature,
        "top_p": 1.0 if sampling.greedy else sampling.top_p,
        "top_k": 0 if sampling.greedy else sampling.top_k,
        "repetition_penalty": sampling.repetition_penalty,
        "ignore_eos": sampling.ignore_eos,
        "stop_token_ids": [] if sampling.ignore_eos else sorted(stop_ids),
        "add_special_tokens": False,
        "return_token_ids": True,
        "stream": True,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": json.loads(sampling.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


async def _token_ids(answer: httpx.Response) -> AsyncIterator[int]:
    """Yield the tokens of a stream of events; several may come in one event."""
    if answer.status_code != 200:
        await answer.aread()
        # Its words may quote the prompt: they are for nobody but the log of vLLM itself.
        raise _lost(f"it answered {answer.status_code}")
    async for line in answer.aiter_lines():
        if not line.startswith("data: {"):
            continue
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            raise _lost("it reported an error")
        for choice in event["choices"]:
            for token_id in choice.get("token_ids") or ():
                yield int(token_id)


def _lost(why: str) -> EngineFailed:
    return EngineFailed(
        f"vLLM did not finish the answer: {why}", hint="the deployment's log holds its own words"
    )
