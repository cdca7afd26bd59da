"""How fast a model answers over HTTP, against `mlflow models serve`: `make bench-serve`.

Both serve the same checkpoint, get the same distinct prompts and give the same number of tokens,
greedily. Each round asks MLflow, the container, the engine without HTTP, and the gateway, in
turns; the ratios are medians over the rounds. MLflow's own settings are its defaults, except that
its one-minute limit on a request is lifted, which 32 requests at once would not meet everywhere.

Environment: MODEL (demo), TOKENS (64), PROMPT (100 tokens), ROUNDS (3), STREAMS (1,8,32; the
ratios need these three), PAIRS (100 short requests for what the gateway adds).
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any  # the tokenizer and JSON

TOKENS = int(os.environ.get("TOKENS", "64"))
PROMPT = int(os.environ.get("PROMPT", "100"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
STREAMS = [int(number) for number in os.environ.get("STREAMS", "1,8,32").split(",")]
PAIRS = int(os.environ.get("PAIRS", "100"))
ALONE = 5  # requests one after the other where there is one stream
VOCABULARY = (
    "ferry harbour winter carpenter captain boat island lamp letter morning river bridge market "
    "garden kitchen window mountain valley teacher student doctor village station ticket engine "
    "silver copper candle blanket orchard compass anchor barrel violin drummer thunder meadow"
)


@dataclass(frozen=True)
class Measured:
    """One run: tokens a second over all requests, and the seconds to each first token."""

    rate: float
    first: tuple[float, ...] = ()


@dataclass
class Results:
    """The runs of each server, by number of streams, one for each round."""

    runs: dict[tuple[str, int], list[Measured]] = field(default_factory=dict)

    def add(self, server: str, streams: int, measured: Measured) -> None:
        """Keep one run, and show that there is progress."""
        self.runs.setdefault((server, streams), []).append(measured)
        print(f"{server:>10} {streams:>3}: {measured.rate:8.1f} tokens/s", file=sys.stderr)

    def ratio(self, server: str, other: str, streams: int) -> float | None:
        """Return the median of the rounds' ratios."""
        pairs = zip(
            self.runs.get((server, streams), []), self.runs.get((other, streams), []), strict=True
        )
        ratios = [one.rate / two.rate for one, two in pairs]
        return round(statistics.median(ratios), 3) if ratios else None

    def first(self, server: str, streams: int, share: float) -> float | None:
        """Return a percentile of the seconds to the first token, over all rounds."""
        times = sorted(each for run in self.runs.get((server, streams), []) for each in run.first)
        return round(times[min(len(times) - 1, int(share * len(times)))], 4) if times else None


def main() -> None:
    """Measure, print a table, and print one JSON object as the last line."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    root = package()
    prompts = Prompts(root)
    conditions(root)
    results = Results()
    with (
        tempfile.TemporaryDirectory(prefix="hieno-bench-") as folder,
        mlflow_server(root, Path(folder)) as mlflow,
        endpoint(root, Path(folder)) as (container, gateway, key),
        engine(root) as ask_engine,
    ):
        # The first request of each is slower.
        warm = [prompts.take() for _ in range(ALONE)]
        asyncio.run(ask_mlflow(mlflow, warm[:1], 1, prompts.ids))
        over_http(gateway, key, warm, 1)
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
            for streams in STREAMS:
                asked = [prompts.take() for _ in range(max(streams, ALONE))]
                baseline = asyncio.run(ask_mlflow(mlflow, asked, streams, prompts.ids))
                results.add("mlflow", streams, baseline)
                results.add("hieno", streams, over_http(container, "", asked, streams))
                results.add("engine", streams, ask_engine(prompts.ids(asked), streams))
                others = [prompts.take() for _ in asked]  # the same would be in its cache
                results.add("gateway", streams, over_http(gateway, key, others, streams))
        added = asyncio.run(added_by(gateway, key, container, prompts.take()))
    table(results)
    print(json.dumps(summary(results, added)))


def package() -> Path:
    """Return the model's package, converted for the engine that serves it here."""
    from hieno.models import pull
    from hieno.package.convert import choose_engine, convert_base

    class Quiet:
        def stage(self, name: str) -> None:
            print(name, file=sys.stderr)

        def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
            return

        def say(self, line: str) -> None:
            print(line, file=sys.stderr)

    root = pull(os.environ.get("MODEL", "demo"), reporter=Quiet())
    convert_base(root, engine=choose_engine("auto"), weights="fp32", say=Quiet().say)
    return root


def conditions(root: Path) -> None:
    """Say what the numbers were measured on."""
    from hieno.machine import speed
    from hieno.serve.engines import choose_engine

    rates, chosen = speed(), choose_engine(root)
    print(
        f"python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, ",
        end="",
    )
    print(f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load ?")
    print(f"matrix products: {rates.bfloat16 / 1e9:.0f} GFLOP/s bfloat16, ", end="")
    print(f"{rates.float32 / 1e9:.0f} float32")
    print(f"engine {chosen.name} ({chosen.reason}); mlflow {version('mlflow')}, ", end="")
    print(f"transformers {version('transformers')}, torch {version('torch')} in float32")
    print(f"distinct prompts of {PROMPT} tokens, {TOKENS} tokens each answer, greedy, ", end="")
    print(f"{ROUNDS} rounds in turns; the load generator runs on the same cores")


class Prompts:
    """Texts of one length in tokens, none of which comes twice."""

    def __init__(self, root: Path) -> None:
        from hieno.package.layout import weights_folder
        from hieno.templates import load_tokenizer

        self._tokenizer: Any = load_tokenizer(weights_folder(root))
        self._random = random.Random(0)  # noqa: S311 - words, not secrets
        self._number = 0

    def take(self) -> str:
        """Return the next text; it differs from the others in its first words already."""
        self._number += 1
        words = [f"Report {self._number}:", *self._random.choices(VOCABULARY.split(), k=PROMPT)]
        ids = self._tokenizer.encode(" ".join(words), add_special_tokens=False)[:PROMPT]
        return str(self._tokenizer.decode(ids))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the texts' tokens."""
        return [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]


@contextmanager
def mlflow_server(root: Path, folder: Path) -> Iterator[str]:
    """Serve the checkpoint with MLflow; yield its address."""
    from hieno.package.layout import weights_folder
    from hieno.processes import free_port

    model, port = folder / "mlflow", free_port()
    save = [sys.executable, __file__, "save-for-mlflow", str(weights_folder(root)), str(model)]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model)]
    command += ["--port", str(port), "--env-manager", "local", "--timeout", "1800"]
    # It starts `uvicorn` by name.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    with (folder / "mlflow.log").open("wb") as log:
        subprocess.run(save, check=True, stdout=log, stderr=log, cwd=folder)
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=os.environ | {"PATH": path},
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", process, folder / "mlflow.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # a session of its own: nobody else's
            process.wait(timeout=30)


def save_for_mlflow(weights: str, target: str) -> None:
    """Log the checkpoint as MLflow's tutorials do, with answers of a fixed length."""
    import mlflow
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
    mlflow.transformers.save_model(
        transformers_model=pipeline(
            "text-generation", model=model, tokenizer=AutoTokenizer.from_pretrained(weights)
        ),
        path=target,
        model_config={
            "max_new_tokens": TOKENS,
            "min_new_tokens": TOKENS,
            "do_sample": False,
            "return_full_text": False,
        },
        pip_requirements=["mlflow", "transformers", "torch"],
        input_example="hello",
    )


@contextmanager
def endpoint(root: Path, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Deploy the package; yield the container's address, the gateway's, and a key."""
    from hieno.endpoint import control
    from hieno.endpoint.state import DeploymentSpec
    from hieno.processes import free_port, python_module

    most = str(max(64, *STREAMS))
    command = python_module("hieno.serve", str(root), "--port", "{port}", "--name", "bench")
    spec = DeploymentSpec("1", (*command, "--max-requests", most), root=str(root))
    place = folder / "bench"
    say = lambda line: print(line, file=sys.stderr)  # noqa: E731
    try:
        status = control.deploy(place, spec, port=free_port(), wait=300, say=say)
        [name] = [name for name, share in status.traffic.items() if share]
        container = f"http://127.0.0.1:{status.deployments[name].instances[0].port}"
        yield container, status.url, control.keys(place).primary.get_secret_value()
    finally:
        control.down(place)


Ask = Callable[[list[list[int]], int], Measured]


@contextmanager
def engine(root: Path) -> Iterator[Ask]:
    """Open the same engine in this process; yield what asks it without any HTTP."""
    from hieno.config import Serve
    from hieno.serve.engines import Sampling, open_engine

    opened = open_engine(root, settings=Serve(max_requests=max(64, *STREAMS)))
    sampling = Sampling(max_new_tokens=TOKENS, ignore_eos=True)

    async def one(prompt: list[int]) -> int:
        return len([token async for token in opened.generate(prompt, sampling)])

    def ask(prompts: list[list[int]], streams: int) -> Measured:
        started = time.perf_counter()
        counts = asyncio.run(in_turns(streams, prompts, one))
        return Measured(total(counts) / (time.perf_counter() - started))

    try:
        asyncio.run(one([1] * 8))
        yield ask
    finally:
        opened.close()


async def in_turns(streams: int, prompts: Sequence[Any], one: Callable[[Any], Any]) -> list[Any]:
    """Ask everything at once, or one after the other where there is one stream."""
    if streams > 1:
        return list(await asyncio.gather(*(one(prompt) for prompt in prompts[:streams])))
    return [await one(prompt) for prompt in prompts]


def total(counts: Sequence[int]) -> int:
    """Return the number of tokens, which must be what was asked for."""
    assert set(counts) == {TOKENS}, f"answers of {sorted(set(counts))} tokens, not {TOKENS}"
    return sum(counts)


async def ask_mlflow(
    url: str, prompts: list[str], streams: int, count: Callable[[list[str]], list[list[int]]]
) -> Measured:
    """Ask MLflow's server; every answer has TOKENS tokens by its model's own settings.

    It sends texts only, so they are counted once more: text and tokens need not agree exactly.
    """
    import httpx

    async with httpx.AsyncClient(timeout=1800, trust_env=False) as client:

        async def one(prompt: str) -> int:
            answer = await client.post(f"{url}/invocations", json={"inputs": [prompt]})
            assert answer.status_code == 200, answer.text
            found = answer.json()
            [text] = found["predictions"] if isinstance(found, dict) else found
            texts.append(text)
            return TOKENS

        texts: list[str] = []
        started = time.perf_counter()
        counts = await in_turns(streams, prompts, one)
        measured = Measured(total(counts) / (time.perf_counter() - started))
    told = statistics.mean(len(ids) for ids in count(texts))
    assert 0.7 * TOKENS < told < 1.3 * TOKENS, f"MLflow's answers have {told} tokens, not {TOKENS}"
    return measured


def over_http(url: str, key: str, prompts: list[str], streams: int) -> Measured:
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

    async def run() -> Measured:
        started = time.perf_counter()
        found = await in_turns(streams, prompts, one)
        seconds = time.perf_counter() - started
        firsts = tuple(first for _, first in found)
        return Measured(total([count for count, _ in found]) / seconds, firsts)

    return asyncio.run(run())


async def added_by(gateway: str, key: str, container: str, prompt: str) -> float:
    """Return the milliseconds that the gateway adds to a short request, at the median of pairs."""

    async def seconds(url: str, key: str) -> float:
        started = time.perf_counter()
        body = {"model": "bench", "prompt": prompt, "max_tokens": 1}
        async with posted(url, key, body) as answer:
            async for _ in answer:
                pass
        return time.perf_counter() - started

    added = []
    for number in range(PAIRS + 5):
        # Now this one first, now that one: the second of a pair may profit from the first.
        order = [(gateway, key), (container, "")][:: 1 if number % 2 else -1]
        times = {url: await seconds(url, secret) for url, secret in order}
        if number >= 5:
            added.append((times[gateway] - times[container]) * 1000)
    return round(statistics.median(added), 2)


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


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server says that it is well, five minutes at most."""
    import httpx

    deadline = time.monotonic() + 300
    while True:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
        assert time.monotonic() < deadline, f"no answer from {url}"
        time.sleep(0.2)


def table(results: Results) -> None:
    """Print the median of each server at each number of streams."""
    print(f"{'server':>10} {'streams':>8} {'tokens/s':>9} {'least':>8} {'most':>8} {'first':>7}")
    for (server, streams), runs in sorted(results.runs.items(), key=lambda item: item[0][1]):
        rates = [run.rate for run in runs]
        first = results.first(server, streams, 0.5)
        shown = f"{first:7.3f}" if first else f"{'-':>7}"
        print(f"{server:>10} {streams:>8} {statistics.median(rates):9.1f} ", end="")
        print(f"{min(rates):8.1f} {max(rates):8.1f} {shown}")


def summary(results: Results, added: float) -> dict[str, float | None]:
    """Return the numbers that are promised; one that was not measured is null."""
    return {
        "ratio_vs_mlflow_1": results.ratio("hieno", "mlflow", 1),
        "ratio_vs_mlflow_8": results.ratio("hieno", "mlflow", 8),
        "ratio_vs_mlflow_32": results.ratio("hieno", "mlflow", 32),
        "ratio_vs_engine_32": results.ratio("hieno", "engine", 32),
        "ratio_vs_engine_32_gateway": results.ratio("gateway", "engine", 32),
        "ttft_p50_1": results.first("hieno", 1, 0.5),
        "ttft_p95_32": results.first("hieno", 32, 0.95),
        "gateway_ms_p50": added,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["save-for-mlflow"]:
        save_for_mlflow(*sys.argv[2:])
    else:
        main()
