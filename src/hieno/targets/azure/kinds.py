"""What Azure's types of resources are called in our words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "microsoft.authorization/roleassignments": "role",
        "microsoft.containerregistry/registries": "container registry",
        "microsoft.insights/autoscalesettings": "autoscale rules",
        "microsoft.insights/components": "Application Insights",
        "microsoft.keyvault/vaults": "key vault",
        "microsoft.machinelearningservices/workspaces": "workspace",
        "microsoft.machinelearningservices/workspaces/computes": "cluster",
        "microsoft.machinelearningservices/workspaces/onlineendpoints": "endpoint",
        "microsoft.machinelearningservices/workspaces/onlineendpoints/deployments": "deployment",
        "microsoft.managedidentity/userassignedidentities": "identity",
        "microsoft.operationalinsights/workspaces": "Log Analytics",
        "microsoft.resources/resourcegroups": "resource group",
        "microsoft.storage/storageaccounts": "storage account",
    }
)


def type_of(resource_id: str) -> str:
    """Return the type in a resource id (the last one, as of a role on a storage account)."""
    if "/providers/" not in resource_id:
        return "Microsoft.Resources/resourceGroups"
    provider, *parts = resource_id.rpartition("/providers/")[2].split("/")
    return "/".join((provider, *parts[::2]))


def kind_of(resource_id: str) -> str:
    """Return what a resource is, in our words."""
    return words(type_of(resource_id))


def words(resource_type: str) -> str:
    """Return what a type is called here; one that is not ours keeps Azure's name."""
    return WORDS.get(resource_type.lower(), resource_type)


def last_name(resource_id: str) -> str:
    """Return the name at the end of a resource id."""
    return resource_id.rpartition("/")[2]
