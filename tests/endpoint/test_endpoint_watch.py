"""What is borne of a new deployment under traffic, on readings that a test makes up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hieno.endpoint.watch import Guard, Reading, Tally, Watch, read

INF = float("inf")
GUARD = Guard(step_requests=20, step_seconds=1e-9, max_errors=0.02, max_slowdown=3.0)


def tally(answers: int, failures: int = 0, *, fast: int | None = None) -> Tally:
    """Return a tally of answers of which so many took 0.1 s at most, and the others 1 s."""
    within = answers if fast is None else fast
    return Tally(answers, failures, {0.1: within, 1.0: answers, INF: answers})


def step(*, new: Tally, old: Tally, waiting: int = 0, guard: Guard = GUARD) -> str:
    """Return the verdict on a step in which both have come this far."""
    begun = Reading({}, {}, 0.0)
    ended = Reading({"green": new, "blue": old}, {"green": waiting}, 0.0)
    readings: Iterator[Reading] = iter([begun, begun, begun])
    look: Callable[[], Reading] = lambda: next(readings, ended)  # noqa: E731
    return Watch("green", "blue", guard, look=look, ask=lambda: "", idle=0.0).step()


def test_step_without_faults_has_no_problem() -> None:
    assert step(new=tally(20), old=tally(200)) == ""


def test_single_failure_proves_nothing_and_two_do() -> None:
    assert step(new=tally(20, 1), old=tally(200)) == ""
    assert step(new=tally(20, 2), old=tally(200)) == "2 of 20 answers failed"
    assert step(new=tally(3, 2), old=tally(200)) == "2 of 3 answers failed"


def test_no_failure_is_borne_where_none_is_to_be() -> None:
    strict = Guard(step_seconds=1e-9, max_errors=0)
    assert step(new=tally(20, 1), old=tally(200), guard=strict) == "1 of 20 answers failed"


def test_failures_that_the_old_one_has_too_are_borne() -> None:
    assert step(new=tally(20, 4), old=tally(200, 40)) == ""


def test_slower_answers_are_named_with_those_of_before() -> None:
    assert step(new=tally(20, fast=0), old=tally(200)) == (
        "95% of its answers took up to 0.95 s, those of blue 0.10 s"
    )


def test_few_answers_are_not_compared() -> None:
    assert step(new=tally(9, fast=0), old=tally(200)) == ""
    assert step(new=tally(20, fast=0), old=tally(9)) == ""


@pytest.mark.parametrize(("waiting", "old"), [(0, 200), (3, 0)])
def test_nothing_to_answer_is_no_fault(waiting: int, old: int) -> None:
    assert step(new=tally(1), old=tally(old), waiting=waiting) == ""


def test_clients_that_all_wait_for_the_new_one_are_no_silence() -> None:
    begun, stuck = Reading({}, {}, 0.0), Reading({"blue": tally(20)}, {"green": 3}, 0.0)
    ended = Reading({"blue": tally(20), "green": tally(3, 3)}, {}, 0.0)
    readings: Iterator[Reading] = iter([begun, begun, stuck, stuck, stuck])
    look: Callable[[], Reading] = lambda: next(readings, ended)  # noqa: E731
    watching = Watch("green", "blue", Guard(), look=look, ask=lambda: "", idle=100.0)
    assert watching.step() == "3 of 3 answers failed"


def test_requests_that_hang_in_the_new_one_alone_are_a_fault() -> None:
    guard = Guard(step_seconds=0.001)
    problem = step(new=tally(1), old=tally(200), waiting=3, guard=guard)
    assert problem == "none of its 3 requests was answered in 0.001 s"


def test_page_of_metrics_is_read_back() -> None:
    page = """\
# TYPE hieno_failures_total counter
hieno_failures_total{deployment="blue"} 2.0
# TYPE hieno_request_seconds histogram
hieno_request_seconds_bucket{deployment="blue",le="0.1"} 3.0
hieno_request_seconds_bucket{deployment="blue",le="+Inf"} 5.0
hieno_request_seconds_count{deployment="blue"} 5.0
hieno_request_seconds_sum{deployment="blue"} 1.0
# TYPE hieno_in_flight gauge
hieno_in_flight{deployment="blue"} 4.0
# TYPE hieno_last_request_timestamp_seconds gauge
hieno_last_request_timestamp_seconds 12.5
"""
    assert read(page) == Reading({"blue": Tally(5, 2, {0.1: 3, INF: 5})}, {"blue": 4}, 12.5)
