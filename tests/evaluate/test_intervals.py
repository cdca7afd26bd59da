"""An interval covers the truth as often as it says, at the sizes that it is used on."""

from __future__ import annotations

import random

import pytest

from hieno.evaluate.intervals import LEAST, Sample, mean, paired


def sample(*values: float, weight: float = 1) -> Sample:
    return {unit: (value, weight) for unit, value in enumerate(values)}


def test_the_difference_of_rates_is_agresti_and_mins() -> None:
    before = sample(*[0] * 100)
    after = sample(*[1] * 60, *[0] * 40)
    found = paired(before, after, yes_no=True)
    assert found is not None
    assert found.method == "Agresti-Min"
    assert found.difference == pytest.approx(0.6)
    # by hand: up 60.5/102, down 0.5/102, middle 60/102, variance (61/102 - middle**2)/102
    assert found.low == pytest.approx(0.588235 - 0.097424, abs=1e-5)
    assert found.high == pytest.approx(0.588235 + 0.097424, abs=1e-5)
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
    found = paired(sample(*[0] * 49), sample(*[1] * 49), yes_no=yes_no)
    assert found is not None
    assert (found.difference, found.low, found.high, found.units) == (1.0, None, None, 49)


def test_one_event_in_many_proves_nothing() -> None:
    found = paired(sample(*[0] * 120), sample(1, *[0] * 119), yes_no=True)
    assert found is not None
    assert not found.above_zero


def test_only_units_of_both_models_are_compared() -> None:
    assert paired({}, sample(1), yes_no=True) is None
    found = paired({1: (0, 1), 2: (1, 1)}, {2: (1, 1), 3: (0, 1)}, yes_no=True)
    assert found is not None
    assert found.units == 1
