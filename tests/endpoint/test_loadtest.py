"""Arrivals, counting, the picture and the sizing answer; `tests/cli` drives a real model."""

from __future__ import annotations

import asyncio
import time
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from pydantic import SecretStr
from rehearsal import Endpoint, spec

from hieno.endpoint import control
from hieno.endpoint.loadtest.arrivals import Pattern, drive
from hieno.endpoint.loadtest.client import Outcome, Prompts
from hieno.endpoint.loadtest.picture import picture
from hieno.endpoint.loadtest.run import Level, Quantiles, Report, loadtest, size, summary
from hieno.errors import HienoError

FOUR = Pattern("concurrency", 4)


def level(rate: float, p95: float, **failed: int) -> Level:
    times = Quantiles(p95 / 2, p95, p95)
    return Level("4 at a time", "concurrency", 4, 10, 10, failed, rate, 1.0, times, None)


def test_so_many_clients_ask_and_each_again_at_once() -> None:
    now, most = 0, 0

    async def send(due: float | None) -> Outcome:
        nonlocal now, most
        assert due is None
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return Outcome(0, 1)

    outcomes = asyncio.run(drive(FOUR, send, seconds=0.05, seed=0))
    assert most == 4
    assert len(outcomes) >= 8


def test_arrivals_do_not_wait_for_answers_and_count_from_when_they_were_due() -> None:
    dues: list[float] = []
    answered = asyncio.Event()

    async def send(due: float | None) -> Outcome:
        assert due is not None
        dues.append(due)
        if len(dues) == 40:
            answered.set()
        await answered.wait()
        return Outcome(due, time.monotonic())

    outcomes = asyncio.run(drive(Pattern("rate", 500), send, seconds=0.2, seed=1))
    assert len(outcomes) == len(dues) >= 40
    assert dues == sorted(dues)
    gaps = [after - before for before, after in pairwise(dues)]
    assert max(gaps) > 3 * sum(gaps) / len(gaps)  # at random, not by the clock


def test_level_counts_answers_and_names_failures() -> None:
    whole = [Outcome(0, seconds, 0.5, 10) for seconds in range(1, 101)]
    found = summary(FOUR, [*whole, Outcome(0, 1, problem="429"), Outcome(0, 1, problem="429")])
    assert (found.answered, found.failed, found.seconds) == (100, {"429": 2}, 100)
    assert found.latency == Quantiles(50, 95, 99)
    assert found.first_token == Quantiles(0.5, 0.5, 0.5)
    assert (found.requests_per_second, found.tokens_per_second) == (1, 10)


def test_sizing_takes_the_best_level_that_is_in_time_and_fails_nowhere() -> None:
    levels = [level(2, 1), level(6, 4), level(8, 20), level(9, 4, reset=1)]
    sizing = size(levels, 10, within=5, instances=2)
    assert (sizing.per_instance, sizing.instances) == (3, 5)  # 10 / (0.7 * 3) = 4.76
    assert size(levels, 10, within=0.5, instances=1).instances is None


def test_no_two_prompts_are_alike_and_a_seed_repeats_them() -> None:
    first, second = Prompts(3), Prompts(3)
    prompts = [first.next() for _ in range(100)]
    assert len({prompt[:8] for prompt in prompts}) == 100
    assert prompts == [second.next() for _ in range(100)]


def test_picture_is_one_file_with_every_level_and_percentile() -> None:
    report = Report("http://x", "a<b", 1, 64, (level(2, 1), level(6, 4)))
    drawn = picture(report)
    root = ET.fromstring(drawn)  # noqa: S314 - our own text
    texts = [element.text for element in root.iter() if element.text and element.text.strip()]
    assert texts[0] == "a<b: answers of up to 64 tokens"
    assert {"p50", "p95", "p99", "answers per second"} <= set(texts)
    assert len([element for element in root.iter() if element.tag.endswith("circle")]) == 8
    assert "href" not in drawn


@pytest.fixture
def refusing(endpoint: Endpoint) -> Endpoint:
    endpoint.deploy(spec("1"))
    return endpoint


def test_endpoint_that_is_no_model_is_named(refusing: Endpoint) -> None:
    key = control.keys(refusing.folder).primary
    with pytest.raises(HienoError, match="does not answer like a model's endpoint"):
        loadtest(refusing.status().url, key, patterns=[FOUR], seconds=0.1)


def test_wrong_key_is_named_before_any_load(refusing: Endpoint) -> None:
    with pytest.raises(HienoError, match="key"):
        loadtest(refusing.status().url, SecretStr("wrong"), patterns=[FOUR], seconds=0.1)
