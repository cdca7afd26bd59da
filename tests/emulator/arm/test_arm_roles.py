"""Who may do what, and what it takes to be told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from plane import IDENTITY, REGISTRY, Plane, refusal

from emulator.cloud import Cloud

ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
PULL = "Microsoft.ContainerRegistry/registries/pull/read"
READ_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
ONE, TWO = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"


def test_a_contributor_makes_resources_and_assigns_no_roles(start: Callable[..., Cloud]) -> None:
    with Plane(start(caller_roles=("Contributor",))) as plane:
        plane.make_group()
        plane.put(REGISTRY)
        principal = plane.put(IDENTITY)["properties"]["principalId"]
        answer = plane.role(principal, ACR_PULL, ONE)
        assert refusal(answer) == (403, "AuthorizationFailed")
        assert "Microsoft.Authorization/roleAssignments/write" in answer.text


def test_a_reader_reads(start: Callable[..., Cloud]) -> None:
    cloud = start(caller_roles=("Reader",))
    with Plane(cloud) as plane:
        assert plane.names(f"{cloud.subscription}/resourceGroups") == []
        answer = plane.send("PUT", plane.group, {"location": "eastus2"})
        assert refusal(answer) == (403, "AuthorizationFailed")


def test_nobody_without_a_role_reads(start: Callable[..., Cloud]) -> None:
    cloud = start()
    with Plane(cloud) as owner:
        owner.make_group()
        owner.put(IDENTITY)
        stranger = cloud.entra.find(owner.get(IDENTITY)["properties"]["principalId"])
        with Plane(cloud, stranger) as plane:
            assert refusal(plane.send("GET", plane.group)) == (403, "AuthorizationFailed")


def test_an_assignment_holds_on_its_scope_and_below(plane: Plane, cloud: Cloud) -> None:
    plane.put(REGISTRY)
    principal = plane.put(IDENTITY)["properties"]["principalId"]
    assert plane.role(principal, ACR_PULL, ONE, plane.id(REGISTRY)).status_code == 201
    assert cloud.roles.permits(principal, PULL, plane.id(REGISTRY))
    assert not cloud.roles.permits(principal, PULL, plane.group)
    assert not cloud.roles.permits(principal, READ_BLOBS, plane.id(REGISTRY))


def test_an_owner_of_an_account_does_not_read_its_blobs(cloud: Cloud) -> None:
    person = cloud.entra.person.id
    assert cloud.roles.permits(person, READ_BLOBS, cloud.subscription)  # has the data role
    for one in cloud.roles.assignments(cloud.subscription):
        if "ba92f5b4" in one.properties["roleDefinitionId"]:
            cloud.resources.remove(one.id)
    assert cloud.roles.permits(
        person, "Microsoft.Storage/storageAccounts/write", cloud.subscription
    )
    assert not cloud.roles.permits(person, READ_BLOBS, cloud.subscription)


def test_an_assignment_made_twice_is_refused_under_another_name(plane: Plane) -> None:
    principal = plane.put(IDENTITY)["properties"]["principalId"]
    assert plane.role(principal, ACR_PULL, ONE).status_code == 201
    assert plane.role(principal, ACR_PULL, ONE).status_code == 200
    assert refusal(plane.role(principal, ACR_PULL, TWO)) == (409, "RoleAssignmentExists")


def test_an_assignment_to_nobody_is_refused(plane: Plane) -> None:
    assert refusal(plane.role(TWO, ACR_PULL, ONE)) == (400, "PrincipalNotFound")


def test_a_role_that_is_late_does_not_hold_for_a_while(plane: Plane, cloud: Cloud) -> None:
    principal = plane.put(IDENTITY)["properties"]["principalId"]
    plane.role(principal, ACR_PULL, ONE)
    cloud.faults.add("late-role at=AcrPull times=2")
    seen = [cloud.roles.permits(principal, PULL, plane.group) for _ in range(3)]
    assert seen == [False, False, True]


@pytest.mark.parametrize(
    ("where", "names"),
    [("principalId eq '{}'", [ONE]), ("assignedTo('{}')", [ONE]), ("atScope()", [])],
)
def test_assignments_are_listed_by_whose_they_are(
    plane: Plane, where: str, names: list[str]
) -> None:
    plane.put(REGISTRY)
    principal = plane.put(IDENTITY)["properties"]["principalId"]
    plane.role(principal, ACR_PULL, ONE, plane.id(REGISTRY))
    query = {"$filter": where.format(principal)}
    listed = plane.names(
        f"{plane.group}/providers/Microsoft.Authorization/roleAssignments", **query
    )
    assert [name for name in listed if name in (ONE, TWO)] == names


def test_a_caller_reads_what_it_is_permitted(start: Callable[..., Cloud]) -> None:
    cloud = start(caller_roles=("Contributor",))
    with Plane(cloud) as plane:
        path = f"{cloud.subscription}/providers/Microsoft.Authorization/permissions"
        held = plane.send("GET", path).json()["value"]
    assert [one["actions"] for one in held] == [["*"]]
    assert "Microsoft.Authorization/*/write" in held[0]["notActions"]
