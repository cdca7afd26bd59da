"""Faults happen where and as often as they are planned, and the real clients meet them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from plane import REGISTRY, Plane, refusal

from emulator.cloud import Cloud
from emulator.faults import Faults, parse_fault

SLOW = "Microsoft.Resources/deployments/d"
TEMPLATE = {"$schema": "x", "contentVersion": "1.0.0.0", "resources": []}


def _deploy(plane: Plane) -> dict[str, Any]:
    body = {"properties": {"mode": "Incremental", "template": TEMPLATE}}
    return plane.finish(plane.send("PUT", SLOW, body))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("conflict", (409, "Conflict")),
        ("throttle", (429, "TooManyRequests")),
        ("unavailable", (503, "ServiceUnavailable")),
        ("error", (500, "InternalServerError")),
        ("missing-role", (403, "AuthorizationFailed")),
    ],
)
def test_an_answer_is_replaced_as_often_as_planned(
    plane: Plane, cloud: Cloud, kind: str, expected: tuple[int, str]
) -> None:
    cloud.faults.add(f"{kind} at=PUT:*/registries/* times=2 after=1")
    answers = [plane.send("PUT", REGISTRY, {"location": "eastus2"}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201, expected[0], expected[0], 200]
    assert refusal(answers[1]) == expected
    assert [kind for kind, _ in cloud.faults.met()] == [kind, kind]


def test_a_throttled_client_is_told_when_to_come_back(plane: Plane, cloud: Cloud) -> None:
    cloud.faults.add("throttle at=GET:* retry_after=7")
    assert plane.send("GET", plane.group).headers["retry-after"] == "7"


def test_a_connection_can_end_before_its_answer(plane: Plane, cloud: Cloud) -> None:
    cloud.faults.add("cut at=GET:*")
    with pytest.raises(httpx.RemoteProtocolError):
        plane.send("GET", plane.group)
    assert plane.send("GET", plane.group).status_code == 200


def test_a_poll_can_be_lost(plane: Plane, cloud: Cloud) -> None:
    cloud.faults.add(f"lost-poll at={SLOW}")
    body = {"properties": {"mode": "Incremental", "template": TEMPLATE}}
    address = plane.send("PUT", SLOW, body).headers["azure-asyncoperation"]
    assert refusal(plane._http.get(address))[0] == 404
    assert plane._http.get(address).status_code == 200


def test_a_slow_operation_takes_its_polls(plane: Plane, cloud: Cloud) -> None:
    cloud.faults.add(f"slow at={SLOW} polls=5")
    assert _deploy(plane)["status"] == "Succeeded"
    polls = [one for one in cloud.trace.exchanges if "/operationStatuses/" in one.path]
    assert len(polls) > 5


def test_an_operation_can_fail(plane: Plane, cloud: Cloud) -> None:
    cloud.faults.add(f"fail-operation at={SLOW} code=Broken message='it broke'")
    ended = _deploy(plane)
    assert (ended["status"], ended["error"]) == (
        "Failed",
        {"code": "Broken", "message": "it broke"},
    )


@pytest.mark.usefixtures("sdk")
def test_the_real_client_retries_and_makes_nothing_twice(cloud: Cloud) -> None:
    from azure.identity import EnvironmentCredential
    from azure.mgmt.resource.resources import ResourceManagementClient

    for text in ("throttle at=PUT:* retry_after=0", "unavailable at=PUT:* retry_after=0"):
        cloud.faults.add(text)
    with (
        EnvironmentCredential() as credential,
        ResourceManagementClient(credential, cloud.settings.subscription) as client,
    ):
        made = client.resource_groups.create_or_update("again", {"location": "eastus2"})
    assert made.name == "again"
    assert [kind for kind, _ in cloud.faults.met()] == ["throttle", "unavailable"]
    groups = cloud.resources.children(f"{cloud.subscription}/resourceGroups")
    assert [one.id.name for one in groups] == ["again"]


def test_a_fault_is_met_by_its_name_or_by_a_pattern() -> None:
    faults = Faults()
    faults.add("preempt at=job-1")
    assert faults.take("preempt", "/a/b/jobs/job-2") is None
    assert faults.take("crash", "/a/b/jobs/job-1") is None
    assert faults.take("preempt", "/a/b/jobs/JOB-1") is not None
    assert faults.pending() == []


def test_a_fault_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault is called 'earthquake'; there are conflict"):
        parse_fault("earthquake at=*")
