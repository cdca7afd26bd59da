"""Train the demo model by the tutorial's settings, by stock TRL and by hieno: `make bench-train`.

The same chats everywhere: about 370 tokens on average and 1,400 at the 99th percentile, laid in
rows of 2048, one row to an update. Every configuration runs in a process of its own, in the type
of matrix products that is fast on the machine; rounds alternate and the median of each counts. A
step before the measured ones warms up. Tokens are those of chats, never padding. Rounds go on
until `ROUNDS` are done or another would not end within `MINUTES`; the first is always whole. On a
machine with a GPU the same configurations run there.

    MINUTES=9 ROUNDS=3 STEPS=1 CONFIGS=full,full-trl make bench-train
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

CONFIGS = ("tutorial", "full-trl", "full", "lora-trl", "lora")
Measured = dict[str, list[dict[str, float]]]


def main() -> None:
    """Measure every configuration, print a table, and one JSON object as the last line."""
    began = time.monotonic()
    configs = os.environ.get("CONFIGS", ",".join(CONFIGS)).split(",")
    conditions = measured_on()
    for name, value in conditions.items():
        print(f"{name}: {value}", flush=True)
    equal = in_child("equality")
    print(f"a step's loss is within {equal['loss_max_diff_fp32']:.1e} of stock TRL's", flush=True)
    measured: Measured = {name: [] for name in configs}
    deadline = began + 60 * float(os.environ.get("MINUTES", "9"))
    rounds, longest = 0, 0.0
    while rounds < int(os.environ.get("ROUNDS", "3")):
        started = time.monotonic()
        if rounds and started + longest > deadline:
            break
        rounds += 1
        for name in configs:
            measured[name].append(in_child(name))
            print(line(rounds, name, measured[name][-1]), flush=True)
        longest = time.monotonic() - started
    print(json.dumps({**ratios(measured), **equal, **conditions, "rounds": rounds}))


def line(number: int, name: str, result: dict[str, float]) -> str:
    """Return a row of the table."""
    return (
        f"round {number}  {name:<9} {result['tokens_per_s']:>7.1f} tokens/s  "
        f"{result['peak_gb']:>5.2f} GB  {result['share']:>5.1%} of the matrix rate"
    )


def ratios(measured: Measured) -> dict[str, float]:
    """Return the ratios of the medians, as far as their configurations were run.

    Of the two methods' memories, the worse one against stock TRL's counts.
    """

    def ratio(ours: str, theirs: str, of: str) -> float | None:
        both = [[result[of] for result in measured.get(name, [])] for name in (ours, theirs)]
        return statistics.median(both[0]) / statistics.median(both[1]) if all(both) else None

    memories = [ratio("full", "full-trl", "peak_gb"), ratio("lora", "lora-trl", "peak_gb")]
    found = {
        "full_ratio_vs_tutorial": ratio("full", "tutorial", "tokens_per_s"),
        "full_ratio_vs_trl": ratio("full", "full-trl", "tokens_per_s"),
        "lora_ratio_vs_tutorial": ratio("lora", "tutorial", "tokens_per_s"),
        "lora_ratio_vs_trl": ratio("lora", "lora-trl", "tokens_per_s"),
        "rss_ratio_vs_trl": max((m for m in memories if m), default=None),
        "share_of_matmul_rate": max(
            (statistics.median(r["share"] for r in measured[name]))
            for name in measured
            if measured[name]
        ),
    }
    return {key: round(value, 3) for key, value in found.items() if value is not None}


def in_child(name: str) -> dict[str, float]:
    """Run one configuration in a fresh process and return what it printed last."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", name],
        stdout=subprocess.PIPE,
        check=True,
        encoding="utf-8",
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured_on() -> dict[str, str]:
    """Return what the numbers are measured on."""
    from hieno.machine import cpu_model, gpus, speed

    rates = speed()
    return {
        "machine": f"{cpu_model()}, {os.cpu_count()} cores",
        "gpus": ", ".join(gpu.name for gpu in gpus()) or "none",
        "products": f"{rates.bfloat16 / 1e9:.0f} GFLOP/s bfloat16, {rates.float32 / 1e9:.0f} "
        f"float32 when probed; {rates.dtype} is used",
    }


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "equality":
        from benchmarks.train.equality import equality

        print(json.dumps(equality()))
    else:
        from benchmarks.train.measures import measure

        print(json.dumps(measure(sys.argv[1])))
