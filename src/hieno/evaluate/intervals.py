"""Paired differences with 95% confidence intervals.

Both methods were chosen by a simulation (`benchmarks/intervals.py`), which also tells from how
many units on they hold what they promise: below `LEAST` a difference comes without an interval. Of
events that are rare, such as a leak in a hundred, the interval is wider than it would have to be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEAST = 60  # paired units
ADDED = 0.75  # pairs in each of the four cells
_Z = 1.959963984540054  # of the normal distribution at 97.5%

Sample = Mapping[int, tuple[float, float]]  # unit -> sum of its values, and their weight


@dataclass(frozen=True)
class Interval:
    """A difference, after less before; `low` and `high` are None where the units are too few."""

    difference: float
    low: float | None
    high: float | None
    units: int
    method: str

    @property
    def above_zero(self) -> bool:
        return self.low is not None and self.low > 0

    @property
    def below_zero(self) -> bool:
        return self.high is not None and self.high < 0


def mean(sample: Sample) -> float | None:
    """Return the weighted mean of a sample, or None where there is nothing in it."""
    weight = sum(weight for _, weight in sample.values())
    return sum(value for value, _ in sample.values()) / weight if weight else None


def paired(before: Sample, after: Sample, *, yes_no: bool) -> Interval | None:
    """Return the difference of two models' means over the units that both have.

    A unit's values are taken together, as turns of one chat are not independent.
    """
    units = sorted(before.keys() & after.keys())
    pairs = [(before[unit], after[unit]) for unit in units]
    if not pairs:
        return None
    single = all(b[1] == a[1] == 1 for b, a in pairs)
    if yes_no and single:
        return _of_rates([(round(b[0]), round(a[0])) for b, a in pairs])
    differences = [a[0] - b[0] * (a[1] / b[1]) for b, a in pairs]
    return _of_means(differences, [a[1] for _, a in pairs])


def _of_rates(pairs: Sequence[tuple[int, int]]) -> Interval:
    """Return Wald's interval with some of a pair more in each of the four cells.

    Agresti and Min 2005 (doi:10.1002/sim.1781) add half a pair; the simulation says three quarters.
    """
    n = len(pairs)
    gained = sum(after > before for before, after in pairs)
    lost = sum(after < before for before, after in pairs)
    difference = (gained - lost) / n
    if n < LEAST:
        return Interval(difference, None, None, n, "too few")
    more = n + 4 * ADDED
    up, down = (gained + ADDED) / more, (lost + ADDED) / more
    middle = up - down
    half = _Z * math.sqrt((up + down - middle**2) / more)
    return Interval(difference, middle - half, middle + half, n, "adjusted Wald")


def _of_means(differences: Sequence[float], weights: Sequence[float]) -> Interval:
    """Return Student's interval of a ratio of sums, linearised (Cochran 1977, chapter 6)."""
    n, total = len(differences), sum(weights)
    ratio = sum(differences) / total
    if n < LEAST:
        return Interval(ratio, None, None, n, "too few")
    from scipy.stats import t

    squares = sum((d - ratio * w) ** 2 for d, w in zip(differences, weights, strict=True))
    half = float(t.ppf(0.975, n - 1)) * math.sqrt(squares * n / (n - 1)) / total
    return Interval(ratio, ratio - half, ratio + half, n, "ratio, Student")
