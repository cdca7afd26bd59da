"""How fast a model answers over HTTP, against `mlflow models serve`: `make bench-serve`.

Both serve the same checkpoint, get the same distinct prompts and give the same number of tokens,
greedily. Each round asks MLflow, the container, the engine without HTTP, and the gateway, in
turns; the ratios are medians over the rounds. MLflow's own settings are its defaults, except that
its one-minute limit on a request is lifted, which 32 requests at once would not meet everywhere.

Environment: MODEL (demo), TOKENS (64), PROMPT (100 tokens), ROUNDS (3), STREAMS (1,8,32; the
ratios need these three), WEIGHTS (fp32; int8 is the same checkpoint made smaller, which
`package.weights: auto` allows where it answers as well), PAIRS (100 short requests for what the
gateway adds), MINUTES (10: a round that would end later is not begun), SERVERS
(mlflow,hieno,engine,gateway: all of them).
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from benchmarks.serve import questions, servers
from benchmarks.serve.prompts import Prompts
from benchmarks.serve.results import Results, summary, table
from benchmarks.serve.settings import (
    ALONE,
    MINUTES,
    PROMPT,
    ROUNDS,
    SERVERS,
    STREAMS,
    TOKENS,
    WEIGHTS,
)


def main() -> None:
    """Measure, print a table, and print one JSON object as the last line."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    began = time.monotonic()
    root = servers.package()
    prompts, results, added = Prompts(root), Results(), None
    conditions(root)
    print(f"distinct prompts of {PROMPT} tokens, {TOKENS} tokens each answer, greedy, ", end="")
    print(f"{ROUNDS} rounds in turns; the load generator runs on the same cores")
    with tempfile.TemporaryDirectory(prefix="hieno-bench-") as folder, ExitStack() as stack:
        asks: dict[str, questions.Ask] = {}
        if "mlflow" in SERVERS:
            url = stack.enter_context(servers.mlflow_server(root, Path(folder)))
            asks["mlflow"] = questions.of_mlflow(url, prompts.ids)
        if {"hieno", "gateway"} & set(SERVERS):
            found = stack.enter_context(servers.endpoint(root, Path(folder)))
            asks["hieno"] = questions.over_http(found.container, "")
            asks["gateway"] = questions.over_http(found.gateway, found.key)
        if "engine" in SERVERS:
            opened = stack.enter_context(servers.engine(root))
            asks["engine"] = questions.of_engine(opened, prompts.ids)
        asks = {name: asks[name] for name in SERVERS}
        for ask in asks.values():  # the first request of each is slower
            ask([prompts.take()], 1)
        measure(asks, prompts, results, until=began + MINUTES * 60)
        if "gateway" in asks:
            added = asyncio.run(questions.added(found, prompts.take()))
    table(results)
    print(f"measured in {time.monotonic() - began:.0f} seconds", file=sys.stderr)
    print(json.dumps(summary(results, added)))


def measure(
    asks: dict[str, questions.Ask], prompts: Prompts, results: Results, *, until: float
) -> None:
    """Ask every server in turns, in as many rounds as are wanted and fit into the time."""
    longest = 0.0
    for number in range(ROUNDS):
        started = time.monotonic()
        if number and started + longest > until:
            print(f"{number} of {ROUNDS} rounds fit into the time", file=sys.stderr)
            return
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
        for streams in STREAMS:
            asked = [prompts.take() for _ in range(streams if streams > 1 else ALONE)]
            for name, ask in asks.items():
                # Through the gateway the same prompts would find themselves in the cache.
                others = [prompts.take() for _ in asked] if name == "gateway" else asked
                results.add(name, streams, ask(others, streams))
        longest = max(longest, time.monotonic() - started)


def conditions(root: Path) -> None:
    """Say what the numbers were measured on."""
    from hieno.machine import speed
    from hieno.serve.engines.choice import choose_engine

    rates, chosen = speed(), choose_engine(root, weights=WEIGHTS)
    print(
        f"python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, ",
        end="",
    )
    print(f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load ?")
    print(f"matrix products: {rates.bfloat16 / 1e9:.0f} GFLOP/s bfloat16, ", end="")
    print(f"{rates.float32 / 1e9:.0f} float32")
    print(f"engine {chosen.name} ({chosen.reason}); mlflow {version('mlflow')}, ", end="")
    print(f"transformers {version('transformers')}, torch {version('torch')} in float32")


if __name__ == "__main__":
    if sys.argv[1:2] == ["save-for-mlflow"]:
        servers.save_for_mlflow(*sys.argv[2:])
    else:
        main()
