"""The project's workspace, opened with Azure's own libraries."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any  # clients of libraries that are imported late

from hieno.project import Project
from hieno.targets.azure import names
from hieno.targets.azure.failures import explained
from hieno.targets.azure.names import Names
from hieno.targets.azure.signin import Account, sign_in
from hieno.targets.azure.store import DATASTORE, Store


@dataclass(frozen=True)
class Workspace:
    """A workspace that exists; `ml` is an `azure.ai.ml.MLClient` for it."""

    account: Account
    group: str
    name: str
    names: Names
    location: str
    discovery: str  # address that names the workspace's other services
    ml: Any
    store: Store

    @property
    def id(self) -> str:
        """The workspace's resource id."""
        return (
            f"/subscriptions/{self.account.subscription}/resourceGroups/{self.group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"
        )


def open_workspace(project: Project) -> Workspace | None:
    """Sign in and open the project's workspace; None where there is none yet."""
    from azure.core.exceptions import ResourceNotFoundError

    account = sign_in(project.config.azure)
    derived = names.derive(project.config, account.subscription)
    brought = project.config.azure.bring.workspace
    group = brought.split("/")[4] if brought else derived.resource_group
    with explained("looking for the workspace"):
        ml = _client(account, group, derived.workspace)
        try:
            found = ml.workspaces.get(derived.workspace)
        except ResourceNotFoundError:
            return None
        return Workspace(
            account=account,
            group=group,
            name=derived.workspace,
            names=derived,
            location=found.location,
            discovery=found.discovery_url,
            ml=ml,
            store=_store(account, ml, project.config.name.lower()),
        )


def _client(account: Account, group: str, workspace: str) -> Any:
    from azure.ai.ml import MLClient

    # It warns of experimental classes that it uses itself, and of every 404 that it raises as well.
    logging.getLogger("azure.ai.ml").setLevel(logging.CRITICAL)
    return MLClient(
        account.credential,
        account.subscription,
        group,
        workspace,
        enable_telemetry=False,
        show_progress=False,
    )


def _store(account: Account, ml: Any, project: str) -> Store:
    from azure.storage.blob import ContainerClient

    place = ml.datastores.get(DATASTORE)
    return Store(
        ContainerClient(
            f"{place.protocol}://{place.account_name}.blob.{place.endpoint}",
            place.container_name,
            credential=account.credential,
        ),
        project,
    )
