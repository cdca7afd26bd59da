"""How often each interval covers the truth: `make bench-intervals`, with a fixed seed.

Pairs are drawn from worlds whose true difference is known, at the sizes that evaluations have. A
method that is used must cover in 93-97% of 1,000 draws; the ones that were not chosen stand
beside it. `tests/evaluate/test_intervals.py` runs some of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any  # numpy arrays

import numpy as np

from hieno.evaluate.intervals import Sample, paired

DRAWS = 1000
SEED = 6
SIZES = (60, 107, 128, 233)
Draw = Callable[[np.random.Generator, int], tuple[Sample, Sample]]
Bounds = tuple[float, float] | None
Method = Callable[[Sample, Sample], Bounds]


@dataclass(frozen=True)
class World:
    """A way in which two models differ; `draw` makes the pairs of `n` units."""

    name: str
    yes_no: bool
    truth: float
    draw: Draw


def main() -> None:
    """Print a table of coverage, and one JSON object as the last line."""
    worst: dict[str, list[float]] = {}
    print(f"share of {DRAWS} draws in which the interval holds the truth, seed {SEED}")
    for world in WORLDS:
        for size in SIZES:
            found = {name: coverage(world, size, method) for name, method in methods(world)}
            shown = "  ".join(f"{name} {share:6.1%}" for name, share in found.items() if share)
            print(f"{world.name:<34} {size:>5}  {shown}")
            for name, share in found.items():
                if share is not None:
                    worst.setdefault(name, []).append(share)
    print(json.dumps({name: [min(shares), max(shares)] for name, shares in worst.items()}))


def coverage(world: World, size: int, method: Method) -> float | None:
    """Return how often a method covers, or None where it gives no interval at that size."""
    chance = np.random.default_rng([SEED, size])
    covered = 0
    given = 0
    for _ in range(DRAWS):
        bounds = method(*world.draw(chance, size))
        if bounds is not None:
            given += 1
            covered += bounds[0] <= world.truth <= bounds[1]
    return covered / given if given > DRAWS / 2 else None


def methods(world: World) -> Iterator[tuple[str, Method]]:
    """Yield the method that evaluation uses, and those it could have used."""
    yield "chosen", lambda before, after: chosen(before, after, yes_no=world.yes_no)
    yield ("Wald", wald) if world.yes_no else ("bootstrap", bootstrap)


def chosen(before: Sample, after: Sample, *, yes_no: bool) -> Bounds:
    """The interval of an evaluation."""
    found = paired(before, after, yes_no=yes_no)
    if found is None or found.low is None or found.high is None:
        return None
    return found.low, found.high


def wald(before: Sample, after: Sample) -> Bounds:
    """The textbook's interval of paired rates."""
    d = np.array([after[unit][0] - before[unit][0] for unit in before])
    half = 1.959964 * math.sqrt(float((d**2).mean() - d.mean() ** 2) / len(d))
    return float(d.mean()) - half, float(d.mean()) + half


def bootstrap(before: Sample, after: Sample) -> Bounds:
    """The percentile bootstrap over units, 200 resamples."""
    d = np.array([after[unit][0] - before[unit][0] for unit in before])
    w = np.array([after[unit][1] for unit in before])
    rows = np.random.default_rng(SEED).integers(0, len(d), (200, len(d)))
    low, high = np.percentile(d[rows].sum(1) / w[rows].sum(1), [2.5, 97.5])
    return float(low), float(high)


def rates(name: str, both: float, lost: float, gained: float) -> World:
    """Two models that are right together, or one of them alone, so often."""

    def draw(chance: np.random.Generator, size: int) -> tuple[Sample, Sample]:
        cell = chance.choice(4, size, p=[both, lost, gained, 1 - both - lost - gained])
        return as_sample(cell < 2), as_sample((cell == 0) | (cell == 2))

    return World(name, True, gained - lost, draw)


def means(name: str, draw: Draw) -> World:
    """Two models with values; the truth is what two hundred thousand units give."""
    before, after = draw(np.random.default_rng(SEED), 200_000)
    weight = sum(weight for _, weight in after.values())
    difference = sum(a for a, _ in after.values()) - sum(b for b, _ in before.values())
    return World(name, False, difference / weight, draw)


def overlap(chance: np.random.Generator, size: int) -> tuple[Sample, Sample]:
    """Shared words: between 0 and 1, many at exactly 0."""
    before = chance.beta(1.2, 6, size) * (chance.random(size) < 0.6)
    return as_sample(before), as_sample(chance.beta(3, 2, size) * (chance.random(size) < 0.9))


def equal_overlap(chance: np.random.Generator, size: int) -> tuple[Sample, Sample]:
    """Half of the replies are the same, the others hardly better."""
    before = chance.beta(2, 2, size)
    other = np.where(chance.random(size) < 0.5, before, chance.beta(2.1, 2, size))
    return as_sample(before), as_sample(other)


def losses(chance: np.random.Generator, size: int) -> tuple[Sample, Sample]:
    """Summed losses of replies whose lengths differ much."""
    length = np.maximum(3, np.exp(chance.normal(2.7, 0.6, size))).round()
    before = (3.8 + chance.normal(0, 0.8, size)) * length
    gain = (-2.5 + chance.normal(0, 1.2, size)) * length
    return as_sample(before, length), as_sample(before + gain, length)


def close_losses(chance: np.random.Generator, size: int) -> tuple[Sample, Sample]:
    """Two trainings of about the same worth, on chats from a line to a page."""
    length = np.maximum(3, np.exp(chance.normal(3.5, 0.8, size))).round()
    before = (1.5 + chance.normal(0, 0.5, size)) * length
    gain = chance.standard_t(5, size) * 0.15 * np.sqrt(30 * length) - 0.02 * length
    return as_sample(before, length), as_sample(before + gain, length)


def texts(chance: np.random.Generator, size: int) -> tuple[Sample, Sample]:
    """Texts of about one length, all a little worse."""
    length = np.maximum(20, np.exp(chance.normal(3.7, 0.2, size))).round()
    before = (3.2 + chance.normal(0, 0.4, size)) * length
    return as_sample(before, length), as_sample(
        before + (0.15 + chance.normal(0, 0.12, size)) * length, length
    )


def turns(chance: np.random.Generator, size: int) -> tuple[Sample, Sample]:
    """Chats of one to four turns, whose turns are alike."""
    count = chance.integers(1, 5, size)
    ease = chance.beta(2, 2, size)
    better = np.clip(ease + 0.2 * chance.random(size), 0, 1)
    return as_sample(chance.binomial(count, ease), count), as_sample(
        chance.binomial(count, better), count
    )


def preferences(chance: np.random.Generator, size: int) -> tuple[Sample, Sample]:
    """A judge's verdicts: lost, even or won."""
    return as_sample(np.zeros(size)), as_sample(chance.choice([-1, 0, 1], size, p=[0.2, 0.3, 0.5]))


def as_sample(values: Any, weights: Any = None) -> Mapping[int, tuple[float, float]]:
    """Return values as evaluation has them, by unit."""
    if weights is None:
        weights = np.ones(len(values))
    pairs = zip(values.tolist(), weights.tolist(), strict=True)
    return {unit: (float(value), float(weight)) for unit, (value, weight) in enumerate(pairs)}


WORLDS = (
    rates("learnt: right 0% -> 86%", 0.0, 0.0, 0.86),
    rates("learnt: right 30% -> 60%", 0.25, 0.05, 0.35),
    rates("learnt a little: 58% -> 65%", 0.5, 0.08, 0.15),
    rates("general kept: 67% -> 69%", 0.6, 0.07, 0.09),
    rates("equal: 66% -> 66%", 0.6, 0.06, 0.06),
    rates("leaks: 1% -> 6%", 0.005, 0.005, 0.055),
    means("shared words", overlap),
    means("shared words, nearly equal", equal_overlap),
    means("loss on replies", losses),
    means("loss on replies, nearly equal", close_losses),
    means("loss on texts", texts),
    means("turns of chats", turns),
    means("a judge's preferences", preferences),
)


if __name__ == "__main__":
    main()
