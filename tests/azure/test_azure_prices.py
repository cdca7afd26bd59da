"""Prices: the right row of the public list, its date, and `?` where it cannot say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulator.cloud import Cloud
from hieno.targets.azure import prices as pricing
from hieno.targets.azure.prices import Price, Prices

SIZE = "Standard_E4s_v3"


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    return Prices("eastus2", "USD", cache=tmp_path / "prices.json")


@pytest.mark.usefixtures("cloud")
def test_windows_spot_and_low_priority_are_other_prices(prices: Prices) -> None:
    plain, low = prices.machine(SIZE), prices.machine(SIZE, low_priority=True)
    assert plain.amount is not None
    assert low.amount == pytest.approx(plain.amount / 4, rel=1e-3)
    assert (plain.unit, plain.currency) == ("hour", "USD")


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("kind", list(pricing.QUESTIONS))
def test_everything_small_has_a_price_too(prices: Prices, kind: str) -> None:
    assert prices.of(kind).amount


@pytest.mark.usefixtures("cloud")
def test_a_size_that_is_not_listed_has_no_price(prices: Prices) -> None:
    unknown = prices.machine("Standard_NC48ads_A100_v4")
    assert unknown.amount is None
    assert str(unknown) == "? USD/hour"
    assert unknown.times(3).amount is None


def test_the_list_is_asked_once_a_day(cloud: Cloud, prices: Prices, tmp_path: Path) -> None:
    def asked() -> int:
        return sum(one.host == "prices.azure.com" for one in cloud.trace.exchanges)

    first = prices.machine(SIZE)
    so_far = asked()
    assert prices.machine(SIZE) == first
    assert Prices("eastus2", "USD", cache=tmp_path / "prices.json").machine(SIZE) == first
    assert asked() == so_far

    kept = json.loads((tmp_path / "prices.json").read_text(encoding="utf-8"))
    for price in kept.values():
        price.update(asked="2026-01-01", amount=99.0)
    (tmp_path / "prices.json").write_text(json.dumps(kept), encoding="utf-8")
    assert prices.machine(SIZE) == first
    assert asked() > so_far


def test_without_the_list_an_old_price_keeps_its_date_and_a_new_one_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricing, "LIST", "http://127.0.0.1:9/none")
    cache = tmp_path / "prices.json"
    known = {
        f"machine {SIZE} in eastus2, USD": {
            "amount": 0.5,
            "unit": "hour",
            "currency": "USD",
            "asked": "2026-01-01",
        }
    }
    cache.write_text(json.dumps(known), encoding="utf-8")
    prices = Prices("eastus2", "USD", cache=cache)
    assert prices.machine(SIZE) == Price(0.5, "hour", "USD", "2026-01-01")
    assert prices.of("registry").amount is None


def test_a_broken_cache_is_as_good_as_none(cloud: Cloud, tmp_path: Path) -> None:
    cache = tmp_path / "prices.json"
    cache.write_text("{", encoding="utf-8")
    assert Prices("eastus2", "USD", cache=cache).machine(SIZE).amount


def row(amount: float, tier: float = 0.0) -> dict[str, float]:
    return {"retailPrice": amount, "tierMinimumUnits": tier}


@pytest.mark.parametrize(
    ("rows", "price"),
    [
        ([row(0.0), row(2.3, tier=5)], 2.3),  # the first gigabytes are free
        ([row(0.02), row(0.01, tier=51200)], 0.02),
        ([row(0.02), row(0.02)], 0.02),
        ([row(0.02), row(0.03)], None),  # two products: neither is the price
        ([], None),
    ],
)
def test_one_price_is_taken_where_the_rows_agree(
    rows: list[dict[str, float]], price: float | None
) -> None:
    assert pricing._single(rows) == price
