"""Our one ARM template with what this project wants of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any  # ARM templates are JSON

from hieno.config import Config
from hieno.targets.azure.names import Names

FILE = Path(__file__).with_name("template.json")
ROLE = "Microsoft.Authorization/roleAssignments"

# What a brought resource stands for: the symbolic names that it replaces, and its variable.
REPLACED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "workspace": (("workspace", "storage", "vault", "registry", "insights", "logs"), ()),
        "storage": (("storage",), ("storageId",)),
        "vault": (("vault",), ("vaultId",)),
        "registry": (("registry",), ("registryId",)),
        "insights": (("insights", "logs"), ("insightsId",)),
        "identity": (("identity", "jobsIdentity"), ("identityId", "jobsIdentityId")),
    }
)


def render(config: Config, *, recover_vault: bool = False) -> dict[str, Any]:
    """Return the template without what is brought, and without roles that are not ours to give.

    A role on something brought, or of an identity that is, is for its owner to give.
    """
    template: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    resources, variables = template["resources"], template["variables"]
    gone: set[str] = set()
    for kind, (replaced, named) in REPLACED.items():
        if resource_id := getattr(config.azure.bring, kind):
            gone.update(replaced)
            variables.update(dict.fromkeys(named, resource_id))
    if not config.azure.contributor:
        gone.add("endpointContributes")
    for name, resource in resources.items():
        is_role = resource["type"] == ROLE
        if is_role and (not config.azure.assign_roles or gone & set(resource["dependsOn"])):
            gone.add(name)
    template["resources"] = {name: one for name, one in resources.items() if name not in gone}
    for one in template["resources"].values():
        if "dependsOn" in one:
            one["dependsOn"] = [name for name in one["dependsOn"] if name not in gone]
    if recover_vault and "vault" in template["resources"]:
        template["resources"]["vault"]["properties"]["createMode"] = "recover"
    return template


def parameters(config: Config, names: Names) -> dict[str, Any]:
    """Return the template's parameters, in the form of a parameters file."""
    cluster = config.azure.cluster
    values = {
        "project": config.name,
        "location": config.azure.location,
        "workspaceName": names.workspace,
        "storageName": names.storage,
        "vaultName": names.vault,
        "registryName": names.registry,
        "insightsName": names.insights,
        "logsName": names.logs,
        "identityName": names.identity,
        "jobsIdentityName": names.jobs_identity,
        "clusterName": names.cluster,
        "clusterSize": cluster.size,
        "clusterPriority": "LowPriority" if cluster.low_priority else "Dedicated",
        "maxNodes": cluster.max_nodes,
        "idleTime": f"PT{cluster.idle_minutes}M",
    }
    return {name: {"value": value} for name, value in values.items()}


def parameters_file(config: Config, names: Names) -> dict[str, Any]:
    """Return the parameters as `az deployment group create --parameters` reads them."""
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"
    values = parameters(config, names)
    return {"$schema": schema, "contentVersion": "1.0.0.0", "parameters": values}
