"""Assets with versions: code, data, environments and models."""

from __future__ import annotations

import re
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import WORKSPACE, Call, route
from emulator.arm.errors import ArmError
from emulator.arm.generic import answer
from emulator.arm.ids import ResourceId
from emulator.arm.kinds import Kind
from emulator.arm.lifecycle import apply
from emulator.arm.resources import Resource
from emulator.ml.blobs import BLOBS, in_datastore

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_WORKSPACES = "Microsoft.MachineLearningServices/workspaces"
# what cannot change once a version is there
_CONTENT = {
    "codes": ("codeUri",),
    "data": ("dataUri", "dataType"),
    "environments": ("image", "condaFile", "build"),
    "models": ("modelUri", "modelType"),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,29}")


def kinds() -> list[Kind]:
    """Return the types."""
    return [
        kind
        for plural in _CONTENT
        for kind in (
            Kind(f"{_WORKSPACES}/{plural}", fill=_fill_container, has_state=False),
            Kind(f"{_WORKSPACES}/{plural}/versions", fill=partial(_fill, plural), has_state=False),
        )
    ]


def routes(cloud: Cloud) -> list[Route]:
    """Answer for lists of versions, and for uploads of code and data."""

    def put(call: Call) -> Response:
        kind, name, version = _words(call.id)
        _check_name(kind, name, version)
        _make_container(cloud, call.id.parent)
        applied = apply(cloud, call.id, call.body)
        _note_version(cloud, applied.resource.id)
        return answer(applied)

    def listed(call: Call) -> Response:
        found = [one.shown() for one in reversed(cloud.resources.children(call.path))]
        if wanted := call.query.get("hash"):  # the same content under any name
            known = cloud.resources.of_type(f"{_WORKSPACES}/codes/versions")
            inside = f"{call.subject.parent.key}/"
            found = [one.shown() for one in known if one.id.key.startswith(inside)]
            found = [one for one in found if _hash(one) == wanted]
        if call.query.get("listViewType", "ActiveOnly") == "ActiveOnly":
            found = [one for one in found if not one["properties"].get("isArchived")]
        top = call.query.get("$top") or call.query.get("$maxresults") or "1000"
        return JSONResponse({"value": found[: int(top)]})

    def pending_upload(call: Call) -> Response:
        workspace = call.subject.parent.parent
        account = in_datastore(cloud, workspace, BLOBS, "").account
        container = f"{uuid.uuid4().hex[:8]}-{uuid.uuid4()}"
        account.ensure(container)
        storage = cloud.resources.require(workspace).properties["storageAccount"]
        return JSONResponse(
            {
                "blobReferenceForConsumption": {
                    "blobUri": f"{account.url}/{container}",
                    "storageAccountArmId": storage,
                    "credential": {"credentialType": "SAS", "sasUri": account.signed(container)},
                },
                "pendingUploadId": str(uuid.uuid4()),
                "pendingUploadType": "TemporaryBlobReference",
            }
        )

    found = []
    for plural in _CONTENT:
        version = f"{WORKSPACE}/{plural}/{{name}}/versions"
        found += [
            route("GET", version, listed),
            route("PUT", f"{version}/{{version}}", put),
            route("POST", f"{version}/{{version}}/startpendingupload", pending_upload),
        ]
    return found


def _fill_container(cloud: Cloud, asset: Resource, old: Resource | None) -> None:
    properties = asset.properties
    _complete(properties)
    newest = old.properties if old else {}
    properties["latestVersion"] = newest.get("latestVersion")
    properties["nextVersion"] = newest.get("nextVersion", "1")
    properties["provisioningState"] = "Succeeded"


def _fill(plural: str, cloud: Cloud, asset: Resource, old: Resource | None) -> None:
    _, name, version = _words(asset.id)
    properties = asset.properties
    for key in _CONTENT[plural] if old else ():
        if old and old.properties.get(key) != properties.get(key):
            message = f"{key} of {name}:{version} cannot be changed; make another version."
            raise ArmError(409, "UserError", message)
    _complete(properties)
    if plural != "data":
        properties["provisioningState"] = "Succeeded"
    if plural == "environments":
        properties.setdefault("stage", "Development")
        properties.setdefault("osType", "Linux")
        properties["environmentType"] = "UserCreated"
    if plural == "models":
        properties.setdefault("flavors", {})


def _check_name(plural: str, name: str, version: str) -> None:
    if plural in ("data", "models") and not _NAME.fullmatch(name):
        message = f"'{name}' is no name: letters, digits, '-' and '_', at most 255, no dot."
        raise ArmError(400, "UserError", message)
    if not _VERSION.fullmatch(version) and plural != "codes":
        raise ArmError(400, "UserError", f"'{version}' is no version: at most 30 characters.")


def _complete(properties: dict[str, Any]) -> None:
    for key in ("tags", "properties"):
        properties[key] = properties.get(key) or {}
    properties.setdefault("isArchived", False)


def _make_container(cloud: Cloud, asset: ResourceId) -> None:
    if cloud.resources.get(asset) is None:
        apply(cloud, asset, {"properties": {}})


def _note_version(cloud: Cloud, version: ResourceId) -> None:
    with cloud.resources.lock:
        asset = cloud.resources.require(version.parent)
        known = [one.id.name for one in cloud.resources.children(f"{asset.id}/versions")]
        numbers = [int(one) for one in known if one.isdigit()]
        asset.properties["latestVersion"] = version.name
        asset.properties["nextVersion"] = str(max(numbers, default=0) + 1)


def _words(version: ResourceId) -> tuple[str, str, str]:
    """Return the collection, the name and the version of an asset."""
    *_, plural, name, _, number = version.text.split("/")
    return plural, name, number


def _hash(asset: dict[str, Any]) -> str:
    properties = asset["properties"]
    return str((properties.get("properties") or {}).get("hash_sha256", ""))
