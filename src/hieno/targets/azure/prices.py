"""Prices from Azure's public list, with their date; what is not in it is unknown, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any  # rows of the list

from hieno.errors import BrokenArtifact
from hieno.files import read_json, write_json
from hieno.project import home

LIST = "https://prices.azure.com/api/retail/prices"
API = "2023-01-01-preview"
DAYS = 1  # a price is asked again after so long
TIMEOUT = 20.0
PAGES = 5  # a question that has more is not one price

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Price:
    """What one unit costs; None where the list could not say."""

    amount: float | None
    unit: str
    currency: str
    asked: str  # the day

    def times(self, count: float) -> Price:
        """Return the price of several."""
        amount = None if self.amount is None else self.amount * count
        return Price(amount, self.unit, self.currency, self.asked)

    def __str__(self) -> str:
        amount = "?" if self.amount is None else f"{self.amount:.4g}"
        return f"{amount} {self.currency}/{self.unit}"


@dataclass(frozen=True)
class Question:
    """How a price is found: the list's filter, the row that is meant, and its unit."""

    service: str
    meter: str
    unit: str
    listed_unit: str
    product: str = ""


QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "registry": Question("Container Registry", "Basic Registry Unit", "day", "1/Day"),
        "storage": Question(
            "Storage",
            "Hot LRS Data Stored",
            "GB and month",
            "1 GB/Month",
            product="Blob Storage",
        ),
        "logs": Question("Log Analytics", "Analytics Logs Data Ingestion", "GB sent", "1 GB"),
        "vault": Question("Key Vault", "Operations", "10,000 calls", "10K"),
    }
)


class Prices:
    """The list for one region and currency, asked at most once a day for each price."""

    def __init__(self, location: str, currency: str, *, cache: Path | None = None) -> None:
        self._location = location
        self._currency = currency
        self._cache = cache or home() / "azure" / "prices.json"
        self._unreachable = False

    def machine(self, size: str, *, low_priority: bool = False) -> Price:
        """Return what one machine costs in an hour, with Linux and without a reservation."""

        def is_meant(row: Row) -> bool:
            meter = row["meterName"]
            return (
                "Windows" not in row["productName"]
                and "Spot" not in meter
                and ("Low Priority" in meter) is low_priority
                and row["unitOfMeasure"] == "1 Hour"
            )

        kind = "machine, low priority" if low_priority else "machine"
        wanted = f"serviceName eq 'Virtual Machines' and armSkuName eq '{size}'"
        return self._price(f"{kind} {size}", "hour", wanted, is_meant)

    def of(self, kind: str) -> Price:
        """Return the price of a registry, of storage, of logs or of a vault."""
        question = QUESTIONS[kind]

        def is_meant(row: Row) -> bool:
            right_product = question.product in ("", row["productName"])
            return bool(row["unitOfMeasure"] == question.listed_unit and right_product)

        wanted = f"serviceName eq '{question.service}' and meterName eq '{question.meter}'"
        return self._price(kind, question.unit, wanted, is_meant)

    def _price(self, name: str, unit: str, wanted: str, is_meant: Callable[[Row], bool]) -> Price:
        key = f"{name} in {self._location}, {self._currency}"
        known = self._known()
        kept = Price(**known[key]) if key in known else None
        today = datetime.now(UTC).date()
        if kept is not None and (today - date.fromisoformat(kept.asked)).days < DAYS:
            return kept
        rows = self._ask(wanted)
        if rows is None:
            return kept or Price(None, unit, self._currency, today.isoformat())
        meant = [row for row in rows if is_meant(row)]
        price = Price(_single(meant), unit, self._currency, today.isoformat())
        self._keep({**known, key: asdict(price)})
        return price

    def _known(self) -> dict[str, Any]:
        try:
            return dict(read_json(self._cache))
        except (OSError, BrokenArtifact):
            return {}  # what is only kept can be asked again

    def _keep(self, known: Mapping[str, Any]) -> None:
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._cache, dict(known))

    def _ask(self, wanted: str) -> list[Row] | None:
        """Return the rows of a question, or None where the list cannot be reached."""
        if self._unreachable:
            return None
        import httpx

        wanted += f" and armRegionName eq '{self._location}' and priceType eq 'Consumption'"
        query = {"api-version": API, "currencyCode": f"'{self._currency}'", "$filter": wanted}
        rows: list[Row] = []
        try:
            answer = httpx.get(LIST, params=query, timeout=TIMEOUT).raise_for_status().json()
            rows += answer["Items"]
            for _ in range(PAGES):
                if not answer.get("NextPageLink"):
                    return rows
                following = httpx.get(answer["NextPageLink"], timeout=TIMEOUT)
                answer = following.raise_for_status().json()
                rows += answer["Items"]
        except (httpx.HTTPError, ValueError, KeyError):
            self._unreachable = True
            return None
        return rows


def _single(rows: Sequence[Row]) -> float | None:
    """Return the price of the lowest tier that costs anything, where the rows agree on it."""
    paid = [row for row in rows if row["retailPrice"]]
    lowest = min((row.get("tierMinimumUnits") or 0.0 for row in paid), default=0.0)
    amounts = {
        float(row["retailPrice"]) for row in paid if (row.get("tierMinimumUnits") or 0.0) == lowest
    }
    return amounts.pop() if len(amounts) == 1 else None
