"""What the tests of services stand on: an emulated Azure, a workspace in it, and a real client."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: JSON

import pytest

from emulator import azurite
from emulator.arm.ids import ResourceId
from emulator.arm.lifecycle import apply
from emulator.arm.resources import Resource
from emulator.cloud import Cloud
from emulator.server import running
from emulator.settings import Settings

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

REGION = "eastus2"
GROUP, WORKSPACE, STORAGE, CLUSTER = "rg", "workspace", "wsstorage", "cpu"
SIZE = "Standard_E4s_v3"


_PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


@contextmanager
def emulated(folder: Path, settings: Settings | None = None) -> Iterator[Cloud]:
    """Run an emulated Azure; skip where Azurite cannot be had."""
    try:
        azurite.script()
    except azurite.NoAzurite as error:
        pytest.skip(str(error))
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    with running(folder, settings) as cloud, pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment().items():
            patch.setenv(name, value)
        for name in _PROXIES:
            patch.delenv(name, raising=False)
        yield cloud


def client(cloud: Cloud, workspace: str) -> MLClient:
    """Return azure-ai-ml's client, as a user opens it, without its telemetry."""
    from azure.ai.ml import MLClient
    from azure.identity import EnvironmentCredential

    return MLClient(
        EnvironmentCredential(),
        cloud.settings.subscription,
        "rg",
        workspace,
        enable_telemetry=False,
        show_progress=False,
    )


def make_environment(ml: MLClient) -> None:
    """Make the environment `e`, version 1, of a ready-made image."""
    from azure.ai.ml.entities import Environment

    ml.environments.create_or_update(Environment(image="mcr.example/x:1", name="e", version="1"))


def write(folder: Path, **files: str) -> str:
    """Write small files (`main_py` is main.py) and return the folder's name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_py", ".py").replace("_txt", ".txt")).write_text(
            text, encoding="utf-8"
        )
    return os.fspath(folder)


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


def make_cluster(
    cloud: Cloud,
    workspace: ResourceId,
    *,
    name: str = CLUSTER,
    most: int = 2,
    low: bool = False,
    identity: str = "",
) -> None:
    """Make a cluster that starts with no node."""
    put(
        cloud,
        workspace.child("computes", name).text,
        **_identity(identity),
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


def make_identity(cloud: Cloud, name: str) -> Resource:
    """Make a managed identity."""
    group = f"{cloud.subscription}/resourceGroups/{GROUP}"
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
    return put(cloud, f"{group}/providers/{kind}/{name}")


def _identity(name: str) -> dict[str, Any]:
    return (
        {"identity": {"type": "UserAssigned", "userAssignedIdentities": {name: {}}}} if name else {}
    )
