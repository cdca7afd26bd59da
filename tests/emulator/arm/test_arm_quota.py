"""Cores: limits, an endpoint's reserve, refusals, and requests for more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from plane import Plane, refusal

from emulator.arm.errors import ArmError
from emulator.arm.quota import cores_of
from emulator.arm.skus import find_size
from emulator.cloud import Cloud

ES, A100 = "standardESv3Family", "standardNCADSA100v4Family"
E4, NC24 = "Standard_E4s_v3", "Standard_NC24ads_A100_v4"
LOCATION = "providers/Microsoft.MachineLearningServices/locations/eastus2"


@pytest.mark.parametrize(
    ("size", "instances", "endpoint", "cores"),
    [(E4, 1, False, 4), (E4, 1, True, 8), (E4, 5, True, 24), (NC24, 1, True, 24)],
)
def test_an_endpoint_takes_a_fifth_more_rounded_up_except_for_large_gpus(
    size: str, instances: int, endpoint: bool, cores: int
) -> None:
    found = find_size(size)
    assert found is not None
    assert cores_of(found, instances, endpoint=endpoint) == cores


def test_what_is_taken_counts_until_it_is_released(start: Callable[..., Cloud]) -> None:
    quota = start(quota={ES: 8}).quota
    quota.take("blue", "eastus2", E4, 1, endpoint=True)
    with pytest.raises(ArmError) as caught:
        quota.take("green", "eastus2", E4, 1, endpoint=True)
    assert caught.value.code == "OutOfQuota"
    assert "Current usage/limit: 8/8. Additional needed: 8" in caught.value.message
    quota.release("BLUE")
    quota.take("green", "eastus2", E4, 1, endpoint=True)


def test_taking_again_replaces_what_was_taken(start: Callable[..., Cloud]) -> None:
    quota = start(quota={ES: 8}).quota
    quota.take("cluster", "eastus2", E4, 2)
    quota.take("cluster", "eastus2", E4, 1)
    assert quota.used("eastus2", ES) == 4


def test_low_priority_has_a_limit_of_its_own(start: Callable[..., Cloud]) -> None:
    quota = start(quota={ES: 0, "TotalLowPriorityCores": 4}).quota
    quota.take("cluster", "eastus2", E4, 1, low_priority=True)
    with pytest.raises(ArmError, match="Not enough quota"):
        quota.take("other", "eastus2", E4, 1, low_priority=True)


def test_a_region_may_not_give_a_size(start: Callable[..., Cloud]) -> None:
    with pytest.raises(ArmError) as caught:
        start().quota.take("cluster", "westeurope", NC24, 1)
    assert caught.value.code == "SkuNotAvailable"


def _usage(plane: Plane, family: str) -> dict[str, Any]:
    listed = plane.get(f"{plane.cloud.subscription}/{LOCATION}/usages")["value"]
    return next(one for one in listed if one["name"]["value"].lower() == family.lower())


def _request(plane: Plane, value: int, family: str = A100) -> dict[str, Any]:
    path = f"{plane.cloud.subscription}/{LOCATION}/providers/Microsoft.Quota/quotas/{family}"
    limit = {"limitObjectType": "LimitValue", "value": value}
    body = {"properties": {"limit": limit, "name": {"value": family}}}
    return plane.finish(plane.send("PUT", path, body))


def test_a_granted_request_raises_the_limit(plane: Plane) -> None:
    assert _usage(plane, A100)["limit"] == 48
    assert _request(plane, 96, A100.upper())["status"] == "Succeeded"
    assert _usage(plane, A100)["limit"] == 96


def test_a_refused_request_says_so_and_changes_nothing(plane: Plane, cloud: Cloud) -> None:
    cloud.faults.add(f"refuse-quota at={A100}")
    ended = _request(plane, 96)
    assert (ended["status"], ended["error"]["code"]) == ("Failed", "QuotaNotAvailableForResource")
    assert _usage(plane, A100)["limit"] == 48
    requests = f"{cloud.subscription}/{LOCATION}/providers/Microsoft.Quota/quotaRequests"
    listed = plane.get(requests)["value"]
    assert [one["properties"]["provisioningState"] for one in listed] == ["Failed"]


def test_a_region_that_there_is_not_is_refused(plane: Plane) -> None:
    path = f"{plane.cloud.subscription}/{LOCATION}/usages".replace("eastus2", "atlantis")
    assert refusal(plane.send("GET", path)) == (400, "LocationNotAvailableForResourceType")


def test_restrictions_are_listed_with_the_sizes(plane: Plane) -> None:
    path = f"{plane.cloud.subscription}/providers/Microsoft.Compute/skus"
    query = {"$filter": "location eq 'westeurope'"}
    listed = plane.send("GET", path, **query).json()["value"]
    found = {one["name"]: [r["reasonCode"] for r in one["restrictions"]] for one in listed}
    assert found[NC24] == ["NotAvailableForSubscription"]
    assert found[E4] == []
