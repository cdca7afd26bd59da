"""A resource group with a workspace in it, made without an SDK: what the tests stand on."""

from __future__ import annotations

from typing import Any  # Any: JSON

from emulator.arm.ids import ResourceId
from emulator.arm.lifecycle import apply
from emulator.arm.resources import Resource
from emulator.cloud import Cloud

REGION = "eastus2"
GROUP, WORKSPACE, STORAGE, CLUSTER = "rg", "ws", "wsstorage", "cpu"
SIZE = "Standard_E4s_v3"


def put(cloud: Cloud, id: str, **body: Any) -> Resource:
    """Make a resource and wait for it."""
    applied = apply(cloud, ResourceId(id), {"location": REGION, **body})
    if applied.operation:
        applied.operation.wait()
    return applied.resource


def make_workspace(cloud: Cloud, *, by_identity: bool = False) -> ResourceId:
    """Make a workspace with its storage account, vault and insights; return its id."""
    group = f"{cloud.subscription}/resourceGroups/{GROUP}"
    put(cloud, group)
    storage = put(
        cloud,
        f"{group}/providers/Microsoft.Storage/storageAccounts/{STORAGE}",
        kind="StorageV2",
        sku={"name": "Standard_LRS"},
        properties={"allowSharedKeyAccess": not by_identity},
    )
    vault = put(cloud, f"{group}/providers/Microsoft.KeyVault/vaults/wsvault")
    insights = put(cloud, f"{group}/providers/Microsoft.Insights/components/wsinsights")
    mode = {"systemDatastoresAuthMode": "Identity"} if by_identity else {}
    return put(
        cloud,
        f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}",
        identity={"type": "SystemAssigned"},
        properties={
            "storageAccount": storage.id.text,
            "keyVault": vault.id.text,
            "applicationInsights": insights.id.text,
            **mode,
        },
    ).id


def make_cluster(cloud: Cloud, workspace: ResourceId, *, most: int = 2, low: bool = False) -> None:
    """Make a cluster that starts with no node."""
    put(
        cloud,
        workspace.child("computes", CLUSTER).text,
        properties={
            "computeType": "AmlCompute",
            "properties": {
                "vmSize": SIZE,
                "vmPriority": "LowPriority" if low else "Dedicated",
                "scaleSettings": {
                    "minNodeCount": 0,
                    "maxNodeCount": most,
                    "nodeIdleTimeBeforeScaleDown": "PT30S",
                },
            },
        },
    )
