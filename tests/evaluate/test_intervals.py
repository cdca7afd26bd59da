"""An interval covers the truth as often as it says, at the sizes that it is used on."""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path

import pytest

from hieno.evaluate.intervals import LEAST, Sample, mean, paired

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


def sample(*values: float, weight: float = 1) -> Sample:
    return {unit: (value, weight) for unit, value in enumerate(values)}


def test_the_difference_of_rates_has_some_of_a_pair_more_in_each_cell() -> None:
    before = sample(*[0] * 100)
    after = sample(*[1] * 60, *[0] * 40)
    found = paired(before, after, yes_no=True)
    assert found is not None
    assert found.method == "adjusted Wald"
    assert found.difference == pytest.approx(0.6)
    # by hand: up 60.75/103, down 0.75/103, middle 60/103, variance (61.5/103 - middle**2)/103
    assert found.low == pytest.approx(0.582524 - 0.098046, abs=1e-5)
    assert found.high == pytest.approx(0.582524 + 0.098046, abs=1e-5)
    assert found.above_zero
    assert not found.below_zero


def test_equal_models_have_an_interval_around_zero() -> None:
    same = sample(*[1, 0] * 50)
    found = paired(same, same, yes_no=True)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high


def test_with_unit_weights_the_ratio_is_students_paired_interval() -> None:
    from scipy.stats import ttest_rel

    chance = random.Random(1)  # noqa: S311
    before = [chance.gauss(0, 1) for _ in range(LEAST)]
    after = [value + chance.gauss(0.1, 0.5) for value in before]
    found = paired(sample(*before), sample(*after), yes_no=False)
    expected = ttest_rel(after, before).confidence_interval(0.95)
    assert found is not None
    assert found.low == pytest.approx(expected.low)
    assert found.high == pytest.approx(expected.high)


def test_long_chats_weigh_more_as_they_do_in_a_loss() -> None:
    before = {0: (10.0, 10.0), 1: (300.0, 100.0)}
    after = {0: (20.0, 10.0), 1: (200.0, 100.0)}
    assert mean(before) == pytest.approx(310 / 110)
    found = paired(before, after, yes_no=False)
    assert found is not None
    assert found.difference == pytest.approx((220 - 310) / 110)


@pytest.mark.parametrize("yes_no", [True, False])
def test_too_few_units_have_a_difference_and_no_interval(yes_no: bool) -> None:
    found = paired(sample(*[0] * 59), sample(*[1] * 59), yes_no=yes_no)
    assert found is not None
    assert (found.difference, found.low, found.high, found.units) == (1.0, None, None, 59)


def test_one_event_in_many_proves_nothing() -> None:
    found = paired(sample(*[0] * 120), sample(1, *[0] * 119), yes_no=True)
    assert found is not None
    assert not found.above_zero


def test_only_units_of_both_models_are_compared() -> None:
    assert paired({}, sample(1), yes_no=True) is None
    found = paired({1: (0, 1), 2: (1, 1)}, {2: (1, 1), 3: (0, 1)}, yes_no=True)
    assert found is not None
    assert found.units == 1


@pytest.mark.parametrize(
    "world", ["learnt: right 0% -> 86%", "equal: 66% -> 66%", "turns of chats"]
)
def test_an_interval_covers_the_truth_as_often_as_it_says(world: str) -> None:
    from intervals import WORLDS, chosen, coverage

    [found] = [one for one in WORLDS if one.name == world]
    for size in (60, 107):
        share = coverage(found, size, partial(chosen, yes_no=found.yes_no))
        assert share is not None
        assert 0.93 <= share <= 0.97
