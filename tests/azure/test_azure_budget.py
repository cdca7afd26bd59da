"""The money's bound of a job: turned into time before it starts, and told while it is spent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from hieno.config import load
from hieno.errors import UserError
from hieno.targets.azure import budget
from hieno.targets.azure.budget import Allowance, Meter
from hieno.targets.azure.prices import Prices
from hieno.targets.azure.stream import Details
from told import Told

HOURLY = 0.44444  # of Standard_E4s_v3 in the emulator's made-up list
NOBODY = cast("Any", None)  # no earlier attempt: the workspace is not asked


def allow(folder: Path, nodes: int = 1, **flags: object) -> Allowance:
    named = {f"azure.cluster.{key}": value for key, value in flags.items()}
    config = load(None, flags={"azure.cluster.size": "Standard_E4s_v3", **named}).config
    prices = Prices("eastus2", "USD", cache=folder / "prices.json")
    return budget.allow(config, NOBODY, nodes, prices=prices)


@pytest.mark.usefixtures("cloud")
def test_money_is_turned_into_time_with_the_idle_minutes_of_all_machines(tmp_path: Path) -> None:
    free = allow(tmp_path, hours=5)
    assert (free.hours, free.budget) == (5, None)
    assert str(free) == "it may take 5 h, which cost 2.222 USD at list price"
    for nodes in (1, 2):
        bound = allow(tmp_path, nodes, budget=2, idle_minutes=30)
        assert (bound.hours + 0.5) * nodes * HOURLY == pytest.approx(2)
    assert allow(tmp_path, budget=1000, hours=5).hours == 5


@pytest.mark.usefixtures("cloud")
def test_too_little_money_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        allow(tmp_path, budget=0.1)
    assert caught.value.message == (
        "azure.cluster.budget is 0.1 USD: at 0.4444 USD/hour that pays for 12 minutes of work"
    )


@pytest.mark.usefixtures("cloud")
def test_without_a_price_only_the_time_limit_holds_and_that_is_said(tmp_path: Path) -> None:
    bound = allow(tmp_path, size="Standard_NC48ads_A100_v4", budget=2, hours=5)
    assert bound.hours == 5
    assert str(bound) == (
        "it may take 5 h, and nobody knows what an hour costs; azure.cluster.budget cannot hold"
    )
    assert bound.tags == {"hieno.budget": "2"}


def test_what_is_spent_is_told_in_tenths_and_at_the_end() -> None:
    told = Told()
    meter = Meter({"hieno.hourly": "2 USD", "hieno.budget": "10"}, told)
    start = datetime.now(UTC) - timedelta(hours=3.2)
    running = Details("Running", {}, "", started=start.isoformat())
    meter.read(Details("Queued", {}, ""))
    meter.read(running)
    meter.read(running)
    end = start + timedelta(hours=4)
    meter.read(Details("Completed", {}, "", started=start.isoformat(), ended=end.isoformat()))
    assert told.lines == ["spent 6.4 of 10 USD", "it ran for 4.00 h: 8 USD at list price"]


def test_a_job_without_a_price_is_told_without_one() -> None:
    told = Told()
    started = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    Meter({}, told).read(Details("Running", {}, "", started=started))
    assert told.lines == []
    assert budget.so_far({}, started) == ""
    assert budget.so_far({"hieno.hourly": "3 USD"}, started) == "at most 3 USD so far"
    tags = {"hieno.hourly": "3 USD", "hieno.budget": "10"}
    assert budget.so_far(tags, started) == "at most 3 USD so far, of 10"
