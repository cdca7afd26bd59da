"""The services beside a workspace: key vault, registry, logs, insights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.arm.availability import taken_elsewhere
from emulator.arm.errors import ArmError
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource, now
from emulator.arm.retention import VAULT
from emulator.entra import object_id

if TYPE_CHECKING:
    from emulator.cloud import Cloud


def _fill_vault(cloud: Cloud, resource: Resource, old: Resource | None) -> None:
    _refuse_taken(cloud, resource, old, "VaultAlreadyExists")
    resource.properties.pop("createMode", None)
    resource.properties.setdefault("enableSoftDelete", True)
    resource.properties["vaultUri"] = f"https://{resource.id.name}.vault.azure.net/"


def _fill_registry(cloud: Cloud, resource: Resource, old: Resource | None) -> None:
    _refuse_taken(cloud, resource, old, "AlreadyInUse")
    tier = (resource.body.get("sku") or {}).get("name", "Basic")
    resource.body["sku"] = {"name": tier, "tier": tier}
    created = old.properties["creationDate"] if old else now()
    server = f"{resource.id.name.lower()}.azurecr.io"
    resource.properties.update(loginServer=server, creationDate=created)
    cloud.ledger.begin(resource.id.text, f"{tier} Registry Unit", by_the_hour=False)


def _fill_logs(cloud: Cloud, resource: Resource, old: Resource | None) -> None:
    resource.properties["customerId"] = object_id(f"logs:{resource.id.text}")
    cloud.ledger.begin(resource.id.text, "Analytics Logs Data Ingestion", by_the_hour=False)


def _fill_insights(cloud: Cloud, resource: Resource, old: Resource | None) -> None:
    workspace = resource.properties.get("WorkspaceResourceId", "")
    if workspace and cloud.resources.get(workspace) is None:
        message = f"The workspace '{workspace}' of '{resource.id.name}' does not exist."
        raise ArmError(400, "WorkspaceNotFound", message)
    key = object_id(f"insights:{resource.id.text}")
    resource.properties.update(
        InstrumentationKey=key,
        ConnectionString=f"InstrumentationKey={key}",
        AppId=object_id(f"app:{resource.id.text}"),
        ApplicationId=resource.id.name,
        TenantId=cloud.settings.tenant,
    )


def _refuse_taken(cloud: Cloud, resource: Resource, old: Resource | None, code: str) -> None:
    if old is None and taken_elsewhere(cloud, resource.id):
        raise ArmError(409, code, f"The name '{resource.id.name}' is already in use.")


KINDS = (
    Kind(VAULT, fill=_fill_vault, retained=True),
    Kind("Microsoft.ContainerRegistry/registries", fill=_fill_registry),
    Kind("Microsoft.OperationalInsights/workspaces", fill=_fill_logs),
    Kind("Microsoft.Insights/components", fill=_fill_insights, stamped=False),
)
