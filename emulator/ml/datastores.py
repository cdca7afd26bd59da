"""Datastores: the two that every workspace has for its blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import WORKSPACE, Call, route
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource
from emulator.ml.blobs import ARTIFACTS, BLOBS

if TYPE_CHECKING:
    from emulator.cloud import Cloud

TYPE = "Microsoft.MachineLearningServices/workspaces/datastores"


def routes(cloud: Cloud) -> list[Route]:
    """Answer for datastores."""

    def listed(call: Call) -> Response:
        found = [one.shown() for one in cloud.resources.children(call.path)]
        if "isDefault" in call.query:
            wanted = call.query["isDefault"].lower() == "true"
            found = [one for one in found if one["properties"]["isDefault"] is wanted]
        return JSONResponse({"value": found})

    def secrets(call: Call) -> Response:
        store = cloud.resources.require(call.subject).properties
        account = cloud.storage.find(store["accountName"])
        if account is None or store["credentials"]["credentialsType"] == "None":
            raise ArmError(400, "UserError", "The datastore has no secrets: it uses identities.")
        return JSONResponse({"secretsType": "AccountKey", "key": account.key})

    return [
        route("GET", f"{WORKSPACE}/datastores", listed),
        route("POST", f"{WORKSPACE}/datastores/{{name}}/listsecrets", secrets),
    ]


def make_own(cloud: Cloud, workspace: Resource, account: str) -> None:
    """Make the datastores that come with a workspace, and their containers."""
    storage = cloud.storage.open(account)
    by_key = (
        workspace.properties.get("systemDatastoresAuthMode", "AccessKey").lower() == "accesskey"
    )
    containers = {
        BLOBS: f"azureml-blobstore-{workspace.properties['workspaceId']}",
        ARTIFACTS: "azureml",
    }
    for name, container in containers.items():
        storage.ensure(container)
        id = workspace.id.child("datastores", name)
        if cloud.resources.get(id) is None:
            cloud.resources.put(Resource(id, _body(id, account, container, by_key=by_key)))


def _body(id: ResourceId, account: str, container: str, *, by_key: bool) -> dict[str, Any]:
    return {
        "id": id.text,
        "name": id.name,
        "type": TYPE,
        "properties": {
            "datastoreType": "AzureBlob",
            "accountName": account,
            "containerName": container,
            "endpoint": "core.windows.net",
            "protocol": "https",
            "isDefault": id.name == BLOBS,
            "serviceDataAccessAuthIdentity": "None"
            if by_key
            else "WorkspaceSystemAssignedIdentity",
            "credentials": {"credentialsType": "AccountKey" if by_key else "None"},
            "tags": {},
            "properties": {},
        },
    }
