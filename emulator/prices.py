"""The public price list, in its shape. Every amount is made up, and made so that it shows.

The rows are those that a plan asks for, with the neighbours that it must not take: Windows, Spot
and Low Priority rows of the same size. Filters compare with case, as the list itself does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.skus import REGIONS, sizes_in

if TYPE_CHECKING:
    from emulator.cloud import Cloud

HOST = "prices.azure.com"

_PATH = "/api/retail/prices"
_PAGE = 3  # rows; the list itself gives 1000
_TERM = re.compile(r"(\w+) eq '([^']*)'")
_CORE_HOUR = 0.11111
_UNPRICED = "Standard_NC48ads_A100_v4"  # a plan meets a price that is not listed
_FREE_AT_FIRST = "Analytics Logs Data Ingestion"

# service, product, meter, unit, amount
_OTHERS = (
    ("Container Registry", "Container Registry", "Basic Registry Unit", "1/Day", 0.22222),
    ("Storage", "General Block Blob v2", "Hot LRS Data Stored", "1 GB/Month", 0.03333),
    ("Storage", "Blob Storage", "Hot LRS Data Stored", "1 GB/Month", 0.04444),
    ("Log Analytics", "Log Analytics", "Analytics Logs Data Ingestion", "1 GB", 5.55555),
    ("Key Vault", "Key Vault", "Operations", "10K", 0.06666),
)


def register(cloud: Cloud) -> None:
    """Register the price list."""
    cloud.hosts.add(HOST, [Route(_PATH, _prices)])


def _prices(request: Request) -> Response:
    query = request.query_params
    currency = query.get("currencyCode", "USD").strip("'")
    wanted = dict(_TERM.findall(query.get("$filter", "")))
    found = [row for row in _rows(currency) if _fits(row, wanted)]
    start = int(query.get("$skip", "0"))
    page, more = found[start : start + _PAGE], len(found) > start + _PAGE
    following = str(request.url.include_query_params(**{"$skip": start + _PAGE}))
    return JSONResponse(
        {
            "BillingCurrency": currency,
            "CustomerEntityId": "Default",
            "CustomerEntityType": "Retail",
            "Items": page,
            "NextPageLink": following if more else None,
            "Count": len(page),
        }
    )


def _fits(row: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    # the list has `type` in its rows and `priceType` in its filters
    names = {"priceType": "type"}
    return all(row.get(names.get(key, key)) == value for key, value in wanted.items())


def _rows(currency: str) -> Iterator[dict[str, Any]]:
    for region in REGIONS:
        for size in sizes_in(region):
            if size.name != _UNPRICED:
                yield from _machine(currency, region, size.name, size.cores * _CORE_HOUR)
        for service, product, meter, unit, amount in _OTHERS:
            row = _row(currency, region, service, product, meter, unit, amount)
            if meter == _FREE_AT_FIRST:
                yield {**row, "retailPrice": 0.0, "unitPrice": 0.0}
                row["tierMinimumUnits"] = 5.0
            yield row


def _machine(currency: str, region: str, size: str, amount: float) -> Iterator[dict[str, Any]]:
    meter = size.removeprefix("Standard_").replace("_", " ")
    product = f"Virtual Machines {meter.split()[0].rstrip('0123456789s')} Series"
    kinds = (
        (product, meter, amount),
        (f"{product} Windows", meter, amount * 2),
        (product, f"{meter} Spot", amount / 5),
        (product, f"{meter} Low Priority", amount / 4),
    )
    for name, of, price in kinds:
        row = _row(currency, region, "Virtual Machines", name, of, "1 Hour", price)
        yield {**row, "armSkuName": size}


def _row(
    currency: str, region: str, service: str, product: str, meter: str, unit: str, amount: float
) -> dict[str, Any]:
    return {
        "currencyCode": currency,
        "tierMinimumUnits": 0.0,
        "retailPrice": round(amount, 5),
        "unitPrice": round(amount, 5),
        "armRegionName": region,
        "location": region,
        "effectiveStartDate": "2000-01-01T00:00:00Z",
        "meterName": meter,
        "productName": product,
        "skuName": meter,
        "serviceName": service,
        "serviceFamily": "Emulated",
        "unitOfMeasure": unit,
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": "",
    }
