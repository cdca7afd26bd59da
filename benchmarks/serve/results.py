"""What was measured, and the numbers that are promised of it."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field


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
        """Return the median of the rounds' ratios, or None where one of them was not asked."""
        ones, twos = (self.runs.get((name, streams), []) for name in (server, other))
        ratios = [one.rate / two.rate for one, two in zip(ones, twos, strict=False)]
        return round(statistics.median(ratios), 3) if ratios else None

    def first(self, server: str, streams: int, share: float) -> float | None:
        """Return a percentile of the seconds to the first token, over all rounds."""
        times = sorted(each for run in self.runs.get((server, streams), []) for each in run.first)
        return round(times[min(len(times) - 1, int(share * len(times)))], 4) if times else None


def table(results: Results) -> None:
    """Print the median of each server at each number of streams."""
    print(f"{'server':>10} {'streams':>8} {'tokens/s':>9} {'least':>8} {'most':>8} {'first':>7}")
    for (server, streams), runs in sorted(results.runs.items(), key=lambda item: item[0][1]):
        rates = [run.rate for run in runs]
        first = results.first(server, streams, 0.5)
        shown = f"{first:7.3f}" if first else f"{'-':>7}"
        print(f"{server:>10} {streams:>8} {statistics.median(rates):9.1f} ", end="")
        print(f"{min(rates):8.1f} {max(rates):8.1f} {shown}")


def summary(results: Results, added: float | None) -> dict[str, float | None]:
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
