"""What-if, deployments and stacks, through the clients that Azure publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from plane import IDENTITY, REGISTRY, VAULT, Plane, refusal

from emulator.cloud import Cloud
from emulator.contract import deviations

NAME = "stack-1"
STACK = f"Microsoft.Resources/deploymentStacks/{NAME}"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
ROLES = "Microsoft.Authorization/roleDefinitions"


def _template(**left_out: bool) -> dict[str, Any]:
    """A registry, an identity that may pull from it, and a vault; any of them can be left out."""
    me = "resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'me')"
    registry = "resourceId('Microsoft.ContainerRegistry/registries', 'registry1')"
    resources = {
        "vault": {
            "type": "Microsoft.KeyVault/vaults",
            "apiVersion": "2025-05-01",
            "name": "vault-1",
            "location": "[parameters('location')]",
            "properties": {
                "tenantId": "[subscription().tenantId]",
                "sku": {"family": "A", "name": "standard"},
            },
        },
        "registry": {
            "type": "Microsoft.ContainerRegistry/registries",
            "apiVersion": "2025-11-01",
            "name": "registry1",
            "location": "[parameters('location')]",
            "sku": {"name": "[parameters('tier')]"},
            "properties": {"adminUserEnabled": False},
        },
        "pull": {
            "type": "Microsoft.Authorization/roleAssignments",
            "apiVersion": "2022-04-01",
            "scope": f"[{registry}]",
            "name": f"[guid({registry}, {me})]",
            "dependsOn": ["registry"],
            "properties": {
                "roleDefinitionId": f"[subscriptionResourceId('{ROLES}', '{ACR_PULL}')]",
                "principalId": f"[reference({me}, '2024-11-30').principalId]",
                "principalType": "ServicePrincipal",
            },
        },
        "identity": {
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
            "apiVersion": "2024-11-30",
            "name": "me",
            "location": "[parameters('location')]",
        },
    }
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "languageVersion": "2.0",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "location": {"type": "string", "defaultValue": "[resourceGroup().location]"},
            "tier": {"type": "string", "defaultValue": "Basic"},
        },
        "resources": {key: one for key, one in resources.items() if key not in left_out},
        "outputs": {"client": {"type": "string", "value": f"[reference({me}).clientId]"}},
    }


def _stack(**more: Any) -> dict[str, Any]:
    actions = {"resources": "delete", "resourceGroups": "detach", "managementGroups": "detach"}
    body = {"template": _template(), "actionOnUnmanage": actions, "denySettings": {"mode": "none"}}
    return {"properties": {**body, **more}}


def _put(plane: Plane, **more: Any) -> dict[str, Any]:
    answer = plane.send("PUT", STACK, _stack(**more))
    assert answer.status_code in (200, 201), answer.text
    return plane.finish(answer)


@pytest.fixture
def clients(sdk: None, cloud: Cloud, plane: Plane) -> Iterator[tuple[Any, Any]]:
    """Microsoft's clients for deployments and for stacks."""
    from azure.identity import EnvironmentCredential
    from azure.mgmt.resource.deployments import DeploymentsMgmtClient
    from azure.mgmt.resource.deploymentstacks import DeploymentStacksClient

    subscription = cloud.settings.subscription
    with (
        EnvironmentCredential() as credential,
        DeploymentsMgmtClient(credential, subscription) as deployments,
        DeploymentStacksClient(credential, subscription) as stacks,
    ):
        yield deployments.deployments, stacks.deployment_stacks


def test_a_stack_is_foreseen_made_kept_and_removed(
    clients: tuple[Any, Any], plane: Plane, cloud: Cloud
) -> None:
    deployments, stacks = clients

    def foreseen(**parameters: Any) -> dict[str, str]:
        properties = {"mode": "Incremental", "template": _template()}
        properties["parameters"] = {name: {"value": value} for name, value in parameters.items()}
        result = deployments.begin_what_if("rg", NAME, {"properties": properties}).result()
        return {
            one.resource_id.split("/")[-2]: str(one.change_type.value) for one in result.changes
        }

    assert set(foreseen().values()) == {"Create"}
    made = stacks.begin_create_or_update_at_resource_group("rg", NAME, _stack()).result()
    assert made.properties.provisioning_state == "succeeded"
    assert len(made.properties.resources) == 4
    client = plane.get(IDENTITY)["properties"]["clientId"]
    assert made.properties.outputs["client"]["value"] == client
    assert set(foreseen().values()) == {"NoChange"}
    assert foreseen(tier="Premium")["registries"] == "Modify"
    assert [one.name for one in stacks.list_at_resource_group("rg")] == [NAME]

    stacks.begin_delete_at_resource_group("rg", NAME, unmanage_action_resources="delete").result()
    assert plane.names(f"{plane.group}/resources") == []
    assert cloud.ledger.running() == []
    assert deviations(cloud) == []


def test_what_the_template_no_longer_says_is_removed(plane: Plane) -> None:
    _put(plane)
    assert _put(plane, template=_template(vault=True))["status"] == "Succeeded"
    assert plane.send("GET", VAULT).status_code == 404
    deleted = plane.get(STACK)["properties"]["deletedResources"]
    assert [one["id"] for one in deleted] == [plane.id(VAULT)]


def test_what_is_detached_stays(plane: Plane) -> None:
    _put(plane)
    _put(plane, template=_template(vault=True), actionOnUnmanage={"resources": "detach"})
    assert plane.send("GET", VAULT).status_code == 200
    plane.finish(plane.send("DELETE", STACK))
    assert plane.send("GET", REGISTRY).status_code == 200


def test_a_failure_is_told_and_the_next_run_goes_on(plane: Plane, cloud: Cloud) -> None:
    cloud.retained[plane.id(VAULT).lower()] = _removed_vault(plane, cloud)
    ended = _put(plane)
    assert (ended["status"], ended["error"]["code"]) == (
        "Failed",
        "DeploymentStackDeploymentFailed",
    )
    failed = plane.get(STACK)["properties"]["failedResources"]
    assert [one["error"]["code"] for one in failed] == ["ConflictError"]
    made = plane.names(f"{plane.group}/resources")
    managed = [one["id"].rsplit("/", 1)[1] for one in plane.get(STACK)["properties"]["resources"]]
    assert set(made) == {"me", "registry1"} < set(managed)  # a removal now would find them
    cloud.retained.clear()
    assert _put(plane)["status"] == "Succeeded"
    assert set(made) < set(plane.names(f"{plane.group}/resources"))
    assert len(plane.get(STACK)["properties"]["resources"]) == 4


def _removed_vault(plane: Plane, cloud: Cloud) -> Any:
    plane.put(VAULT, properties={"tenantId": "t"})
    plane.send("DELETE", VAULT)
    return cloud.retained[plane.id(VAULT).lower()]


def test_a_planned_failure_leaves_nothing_at_work(plane: Plane, cloud: Cloud) -> None:
    cloud.faults.add(f"fail-operation at={NAME} code=Busy message=later")
    ended = _put(plane)
    assert (ended["status"], ended["error"]["code"]) == ("Failed", "Busy")
    assert plane.get(STACK)["properties"]["provisioningState"] == "failed"
    assert _put(plane)["status"] == "Succeeded"
    cloud.faults.add(f"fail-operation at={NAME} code=Busy message=later")
    removed = plane.finish(plane.send("DELETE", STACK))
    assert removed["status"] == "Failed"
    assert plane.finish(plane.send("DELETE", STACK))["status"] == "Succeeded"


def test_a_forgotten_dependency_fails_here_as_it_may_there(plane: Plane) -> None:
    template = _template()
    del template["resources"]["pull"]["dependsOn"]
    ended = _put(plane, template=template)
    assert ended["status"] == "Failed"


def test_a_stack_at_work_refuses_another(plane: Plane, cloud: Cloud) -> None:
    first = plane.send("PUT", STACK, _stack())
    cloud.resources.require(plane.id(STACK)).busy = True
    second = plane.send("PUT", STACK, _stack())
    assert refusal(second) == (409, "DeploymentStackInNonTerminalState")
    assert plane.finish(first)["status"] == "Succeeded"


def test_a_caller_who_may_not_assign_roles_makes_nothing(start: Callable[..., Cloud]) -> None:
    with Plane(start(caller_roles=("Contributor",))) as plane:
        plane.make_group()
        answer = plane.send("PUT", STACK, _stack())
        assert refusal(answer) == (403, "InvalidTemplateDeployment")
        assert "Microsoft.Authorization/roleAssignments/write" in answer.text
        assert plane.names(f"{plane.group}/resources") == []


def test_a_deployment_lists_what_it_made(plane: Plane) -> None:
    path = "Microsoft.Resources/deployments/once"
    body = {"properties": {"mode": "Incremental", "template": _template()}}
    assert plane.send("POST", f"{path}/validate", body).status_code == 200
    plane.finish(plane.send("PUT", path, body))
    assert plane.get(path)["properties"]["provisioningState"] == "Succeeded"
    operations = plane.get(f"{path}/operations")["value"]
    made = [one["properties"]["targetResource"]["resourceName"] for one in operations]
    assert {"me", "registry1", "vault-1"} < set(made)
    assert plane.send("POST", f"{path}/exportTemplate").json()["template"] == _template()


@pytest.mark.parametrize(
    ("broken", "code"),
    [({"template": None}, "InvalidTemplate"), ({"template": {"resources": []}}, "InvalidTemplate"),
     ({"mode": "Complete"}, "NotEmulated")],
)  # fmt: skip
def test_a_deployment_that_cannot_be_read_is_refused(
    plane: Plane, broken: dict[str, Any], code: str
) -> None:
    body = {"properties": {"mode": "Incremental", "template": _template(), **broken}}
    answer = plane.send("PUT", "Microsoft.Resources/deployments/once", body)
    assert answer.json()["error"]["code"] == code
