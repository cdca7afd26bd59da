"""Resources come, change and go as Azure Resource Manager has it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from plane import IDENTITY, REGISTRY, VAULT, Plane, refusal

from emulator.arm.ids import ResourceId, canonical, routing_path
from emulator.cloud import Cloud


def test_a_resource_is_found_however_its_id_is_spelt(plane: Plane) -> None:
    plane.put(REGISTRY, sku={"name": "Basic"})
    loud = plane.send("GET", plane.id(REGISTRY).upper().replace("/SUBSCRIPTIONS", "/subscriptions"))
    assert loud.json()["id"] == plane.id(REGISTRY)


def test_a_put_again_changes_and_says_200(plane: Plane) -> None:
    first = plane.send("PUT", REGISTRY, {"location": "eastus2", "sku": {"name": "Basic"}})
    again = plane.send("PUT", REGISTRY, {"location": "eastus2", "sku": {"name": "Premium"}})
    assert (first.status_code, again.status_code) == (201, 200)
    assert plane.get(REGISTRY)["sku"]["name"] == "Premium"
    assert plane.names("Microsoft.ContainerRegistry/registries") == ["registry1"]


def test_a_patch_keeps_what_it_does_not_mention_and_null_removes(plane: Plane) -> None:
    plane.put(REGISTRY, tags={"a": "1", "b": "2"})
    plane.send("PATCH", REGISTRY, {"tags": {"b": None, "c": "3"}})
    assert plane.get(REGISTRY)["tags"] == {"a": "1", "c": "3"}


def test_a_part_needs_its_whole(plane: Plane) -> None:
    part = "Microsoft.MachineLearningServices/workspaces/none/computes/cpu"
    assert refusal(plane.send("PUT", part, {})) == (404, "ParentResourceNotFound")


def test_a_resource_needs_its_group(plane: Plane) -> None:
    elsewhere = plane.id(REGISTRY).replace("/rg/", "/other/")
    answer = plane.send("PUT", elsewhere, {"location": "eastus2"})
    assert refusal(answer) == (404, "ResourceGroupNotFound")


def test_a_group_goes_with_all_that_is_in_it(plane: Plane, cloud: Cloud) -> None:
    plane.put(REGISTRY)
    answer = plane.send("DELETE", plane.group)
    assert answer.status_code == 202
    assert plane.finish(answer)["status"] == "Succeeded"
    assert refusal(plane.send("GET", REGISTRY)) == (404, "ResourceNotFound")
    assert cloud.ledger.running() == []


def test_a_removal_that_fails_can_be_tried_again(plane: Plane, cloud: Cloud) -> None:
    cloud.faults.add("fail-operation at=rg")
    assert plane.finish(plane.send("DELETE", plane.group))["status"] == "Failed"
    assert plane.get(plane.group)["properties"]["provisioningState"] == "Failed"
    assert plane.finish(plane.send("DELETE", plane.group))["status"] == "Succeeded"


def test_a_removal_of_nothing_is_no_mistake(plane: Plane) -> None:
    assert plane.send("DELETE", REGISTRY).status_code == 204


def test_a_list_of_nobodys_parts_is_refused(plane: Plane) -> None:
    parts = "Microsoft.MachineLearningServices/workspaces/none/computes"
    assert refusal(plane.send("GET", parts)) == (404, "ResourceNotFound")


def test_an_identity_gets_a_principal_that_others_can_use(plane: Plane) -> None:
    made = plane.put(IDENTITY)
    plane.put(
        REGISTRY,
        identity={"type": "UserAssigned", "userAssignedIdentities": {plane.id(IDENTITY): {}}},
    )
    used = plane.get(REGISTRY)["identity"]["userAssignedIdentities"][plane.id(IDENTITY)]
    assert used["principalId"] == made["properties"]["principalId"]


def test_an_identity_that_is_not_there_is_refused(plane: Plane) -> None:
    identity = {"type": "UserAssigned", "userAssignedIdentities": {plane.id(IDENTITY): {}}}
    answer = plane.send("PUT", REGISTRY, {"location": "eastus2", "identity": identity})
    assert refusal(answer) == (400, "FailedIdentityOperation")


def test_an_unregistered_provider_refuses_until_it_is_registered(
    start: Callable[..., Cloud],
) -> None:
    with Plane(start(registered=False)) as plane:
        plane.make_group()
        answer = plane.send("PUT", REGISTRY, {"location": "eastus2"})
        assert refusal(answer) == (409, "MissingSubscriptionRegistration")
        provider = f"{plane.cloud.subscription}/providers/Microsoft.ContainerRegistry"
        assert plane.get(provider)["registrationState"] == "NotRegistered"
        plane.send("POST", f"{provider}/register")
        plane.put(REGISTRY)


def test_a_vaults_name_stays_taken_until_it_is_purged(plane: Plane) -> None:
    plane.put(VAULT, properties={"tenantId": "t"})
    plane.send("DELETE", VAULT)
    again = plane.send("PUT", VAULT, {"location": "eastus2", "properties": {}})
    assert refusal(again) == (409, "ConflictError")
    place = f"{plane.cloud.subscription}/providers/Microsoft.KeyVault"
    assert plane.names(f"{place}/deletedVaults") == ["vault-1"]
    purged = plane.send("POST", f"{place}/locations/eastus2/deletedVaults/vault-1/purge")
    assert plane.finish(purged)["status"] == "Succeeded"
    plane.put(VAULT, properties={"tenantId": "t"})


def test_a_vault_can_be_recovered_instead(plane: Plane) -> None:
    plane.put(VAULT, properties={"tenantId": "t"})
    plane.send("DELETE", VAULT)
    plane.put(VAULT, properties={"createMode": "recover"})
    place = f"{plane.cloud.subscription}/providers/Microsoft.KeyVault"
    assert plane.names(f"{place}/deletedVaults") == []


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("Microsoft.KeyVault/vaults", "vault-1", "AlreadyExists"),
        ("Microsoft.ContainerRegistry/registries", "elsewhere1", "AlreadyExists"),
        ("Microsoft.Storage/storageAccounts", "Not-Allowed", "AccountNameInvalid"),
        ("Microsoft.Storage/storageAccounts", "free", ""),
    ],
)
def test_a_name_is_free_only_if_nobody_holds_it(
    start: Callable[..., Cloud], kind: str, name: str, reason: str
) -> None:
    with Plane(start(taken_names=("elsewhere1",))) as plane:
        plane.make_group()
        plane.put(VAULT, properties={"tenantId": "t"})
        plane.send("DELETE", VAULT)
        place = f"{plane.cloud.subscription}/providers/{kind.split('/')[0]}/checkNameAvailability"
        found = plane.send("POST", place, {"name": name, "type": kind}).json()
        assert (found["nameAvailable"], found.get("reason", "")) == (not reason, reason)


def test_a_group_cannot_move(plane: Plane) -> None:
    answer = plane.send("PUT", plane.group, {"location": "westeurope"})
    assert refusal(answer) == (409, "InvalidResourceGroupLocation")


def test_a_call_without_a_version_is_refused(plane: Plane) -> None:
    answer = plane._http.get(plane.group)
    assert refusal(answer) == (400, "MissingApiVersionParameter")


def test_a_call_that_azure_may_know_but_the_emulator_does_not_says_so(plane: Plane) -> None:
    plane.put(REGISTRY)
    answer = plane.send("POST", f"{REGISTRY}/scheduleRun", {})
    assert refusal(answer) == (501, "NotEmulated")


def test_a_body_that_is_no_json_is_refused(plane: Plane) -> None:
    answer: httpx.Response = plane._http.put(
        plane.id(REGISTRY), content="{", params={"api-version": "2025-11-01"}
    )
    assert refusal(answer) == (400, "InvalidRequestContent")


def test_ids_know_what_they_name() -> None:
    id = ResourceId("/subscriptions/s/resourceGroups/g/providers/A.B/c/n/d/m")
    assert (id.type, id.name, id.group) == ("A.B/c/d", "m", "/subscriptions/s/resourceGroups/g")
    assert id.parent.text.endswith("/c/n")
    assert id.parent.parent.text == id.group
    on = ResourceId(f"{id.text}/providers/Microsoft.Authorization/roleAssignments/r")
    assert (on.scope, on.parent.text) == (id.text, id.text)


def test_names_keep_their_spelling_in_a_route_and_types_do_not() -> None:
    path = "/Subscriptions/S/ResourceGroups/Rg/Providers/A.B/Cs/N/ListKeys"
    assert routing_path(path) == "/subscriptions/S/resourcegroups/Rg/providers/a.b/cs/N/listkeys"
    assert canonical("/x/y/providers/a.b/cs/n", {"a.b": "A.B", "cs": "Cs"}) == (
        "/x/y/providers/A.B/Cs/n"
    )
