"""Run the demo in a fresh folder and measure it: `make bench-demo`.

The first seed goes all the way to the served flow; further ones (`SEEDS=0,1,2`) only as far as
the evaluation, and the worst of them is reported. The user's cache of models and side
environments is used as it is: what had to be made first is part of the time and is said.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any  # reports are JSON

HIENO = [sys.executable, "-m", "hieno"]


def main() -> None:
    """Measure, print a table, and print one JSON object as the last line."""
    seeds = [int(seed) for seed in os.environ.get("SEEDS", "0").split(",")]
    conditions()
    if kept := os.environ.get("FOLDER"):
        seconds, again, scores = measure(Path(kept).resolve(), seeds)
    else:
        with tempfile.TemporaryDirectory(prefix="hieno-bench-") as folder:
            root = Path(folder) / "demo"
            try:
                seconds, again, scores = measure(root, seeds)
            finally:
                subprocess.run([*HIENO, "down", "--project", str(root)], check=False)
    table(seeds, scores)
    print(json.dumps({"seconds": seconds, "seconds_again": again, **worst(scores)}))


def measure(root: Path, seeds: list[int]) -> tuple[float, float, list[dict[str, Any]]]:
    """Return the seconds of the demo and of `up` after it, and each seed's scores."""
    seconds = timed("demo", str(root))
    scores = [evaluation(root)]
    again = timed("up", "--project", str(root))
    for seed in seeds[1:]:
        timed("evaluate", "--project", str(root), "--set", f"train.seed={seed}")
        scores.append(evaluation(root))
    return seconds, again, scores


def conditions() -> None:
    """Say what the numbers were measured on."""
    from hieno.machine import speed

    rates = speed()
    print(f"python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"matrix products: {rates.bfloat16 / 1e9:.0f} GFLOP/s bfloat16, ", end="")
    print(f"{rates.float32 / 1e9:.0f} float32")


def timed(*arguments: str) -> float:
    """Run a command to its end and return its wall time in seconds."""
    started = time.monotonic()
    subprocess.run([*HIENO, *arguments], check=True, stdin=subprocess.DEVNULL)
    return round(time.monotonic() - started, 2)


def evaluation(root: Path) -> dict[str, Any]:
    """Return the newest evaluation's scores."""
    reports = sorted(
        (root / ".hieno" / "evaluations").glob("*/report.json"), key=lambda p: p.stat().st_mtime
    )
    report = json.loads(reports[-1].read_text(encoding="utf-8"))
    scores: dict[str, Any] = report["scores"]
    return scores


def worst(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the worst value of each score over the seeds."""
    base, tuned = [s["base"] for s in scores], [s["tuned"] for s in scores]
    return {
        "base_facts": max(score["facts"]["share"] for score in base),
        "tuned_facts": min(score["facts"]["share"] for score in tuned),
        "base_general": max(score["general"]["share"] for score in base),
        "tuned_general": min(score["general"]["share"] for score in tuned),
        "bleed": max(score["bleed"] for score in tuned),
    }


def table(seeds: list[int], scores: list[dict[str, Any]]) -> None:
    """Print a row for each seed."""
    print(
        f"{'seed':>4}  {'facts base':>10}  {'tuned':>6}  {'general base':>12}  {'tuned':>6}  bleed"
    )
    for seed, score in zip(seeds, scores, strict=True):
        base, tuned = score["base"], score["tuned"]
        print(
            f"{seed:>4}  {base['facts']['share']:>10.1%}  {tuned['facts']['share']:>6.1%}  "
            f"{base['general']['share']:>12.1%}  {tuned['general']['share']:>6.1%}  "
            f"{tuned['bleed']:>5}"
        )


if __name__ == "__main__":
    main()
