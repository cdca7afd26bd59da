"""Where things are stored: from the addresses that Azure ML uses to blobs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.storage_account import SUFFIX, Account

if TYPE_CHECKING:
    from emulator.cloud import Cloud

ARTIFACTS = "workspaceartifactstore"
BLOBS = "workspaceblobstore"

_JOB = re.compile(r"azureml://jobs/([^/]+)/outputs/([^/]+)(?:/paths/(.*))?")
_DATASTORE = re.compile(r"azureml://(?:subscriptions/.+/)?datastores/([^/]+)/(?:paths/)?(.*)")
_ASSET = re.compile(r"azureml:(?://.+/)?(data|models)?[/]?([^/:]+)(?:/versions/|:)([^/]+)")
_WEB = re.compile(rf"https://([^/.]+)\.{re.escape(SUFFIX)}/([^/?]+)/?([^?]*)")


@dataclass(frozen=True)
class Place:
    """A blob, or all blobs whose names begin with a path."""

    account: Account
    container: str
    path: str

    def download(self, folder: Path) -> Path:
        """Read it into a folder; return the file or the folder. Raises `FileNotFoundError`."""
        return self.account.download(self.container, self.path, folder)

    def upload(self, folder: Path) -> None:
        """Write all files of a folder."""
        self.account.upload(folder, self.container, self.path)

    def write(self, name: str, content: bytes) -> None:
        """Write one blob below it."""
        self.account.write(self.container, f"{self.path.rstrip('/')}/{name}".lstrip("/"), content)

    def names(self) -> list[str]:
        """List the blobs, as they are called below it."""
        prefix = f"{self.path.rstrip('/')}/" if self.path else ""
        return [one[len(prefix) :] for one in self.account.names(self.container, prefix)]

    def signed(self, name: str = "", *, write: bool = False) -> str:
        """Return an address of a blob below it that needs no other credential."""
        return self.account.signed(
            self.container, f"{self.path.rstrip('/')}/{name}".strip("/"), write=write
        )


def run_artifacts(cloud: Cloud, workspace: ResourceId, run: str) -> Place:
    """Return where the artifacts and the logs of a run are."""
    return in_datastore(cloud, workspace, ARTIFACTS, f"ExperimentRun/dcid.{run}")


def in_datastore(cloud: Cloud, workspace: ResourceId, name: str, path: str) -> Place:
    """Return a path in a datastore. Raises 404."""
    properties = cloud.resources.require(workspace.child("datastores", name)).properties
    account = cloud.storage.find(properties["accountName"])
    if account is None:
        raise ArmError(
            400, "UserError", f"The storage account '{properties['accountName']}' is not there."
        )
    return Place(account, properties["containerName"], path)


def resolve(cloud: Cloud, workspace: ResourceId, address: str) -> Place:
    """Return what an address means. Raises `ArmError` for one that means nothing here."""
    address = address.removeprefix("azureml:") if address.startswith("azureml:/sub") else address
    if found := _JOB.fullmatch(address):
        job, output, path = found.groups()
        if output == "artifacts":
            return run_artifacts(cloud, workspace, f"{job}/{path or ''}".rstrip("/"))
        return _within(resolve(cloud, workspace, _output(cloud, workspace, job, output)), path)
    if found := _DATASTORE.fullmatch(address):
        return in_datastore(cloud, workspace, found[1], found[2])
    if found := _WEB.fullmatch(address):
        account = cloud.storage.find(found[1])
        if account:
            return Place(account, found[2], found[3])
    asset = _asset(cloud, workspace, address)
    if asset is None or asset == address:
        raise ArmError(400, "UserError", f"'{address}' names nothing that is stored here.")
    return resolve(cloud, workspace, asset)


def _output(cloud: Cloud, workspace: ResourceId, job: str, output: str) -> str:
    outputs = cloud.resources.require(workspace.child("jobs", job)).properties["outputs"]
    if output not in outputs:
        raise ArmError(400, "UserError", f"The job '{job}' has no output '{output}'.")
    return str(outputs[output]["uri"])


def _within(place: Place, path: str | None) -> Place:
    inside = f"{place.path.rstrip('/')}/{path or ''}".strip("/")
    return Place(place.account, place.container, inside)


def _asset(cloud: Cloud, workspace: ResourceId, address: str) -> str | None:
    if address.startswith("/subscriptions/"):
        id = ResourceId(address)
    elif found := _ASSET.fullmatch(address):
        kind, name, version = found.groups()
        id = workspace.child(kind or "data", name).child("versions", version)
    else:
        return None
    properties = cloud.resources.require(id).properties
    return next(
        (properties[k] for k in ("dataUri", "modelUri", "codeUri") if k in properties), None
    )
