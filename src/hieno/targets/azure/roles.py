"""Who may do what: the roles that the project needs, those that are there, and who gives them."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any  # JSON of Azure

from hieno.targets.azure.failures import explained
from hieno.targets.azure.site import Site

API = "2022-04-01"
ASSIGN = "Microsoft.Authorization/roleAssignments/write"
KNOWN_WITHIN = 600.0  # seconds until a role that was given is known everywhere, as a rule
SECONDS = 5.0  # between two looks whether it is

# Built-in roles; their ids are the same everywhere.
ROLES: Mapping[str, str] = MappingProxyType(
    {
        "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
        "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "Contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Quota Request Operator": "0e5f05e5-9ab9-446b-b98d-1e2157c94125",
        "Role Based Access Control Administrator": "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
    }
)


@dataclass(frozen=True)
class Need:
    """A role that somebody must have, and the line with which an administrator gives it."""

    who: str
    principal: str
    principal_type: str
    role: str
    scope: str

    @property
    def line(self) -> str:
        return (
            f"az role assignment create --assignee-object-id {self.principal} "
            f'--assignee-principal-type {self.principal_type} --role "{self.role}" '
            f"--scope {self.scope}"
        )


def give_caller(site: Site, say: Callable[[str], None]) -> None:
    """Let whoever is signed in read and write data: the storage account takes no keys.

    It stands outside the stack, so that a teammate's `up` takes no role from anybody.
    """
    need = callers_need(site)
    if need is None or not site.config.azure.assign_roles or has(site, need):
        return
    with explained(f"giving you the role {need.role}"):
        site.arm.put(
            f"{need.scope}/providers/Microsoft.Authorization/roleAssignments/{_name(need)}",
            API,
            {
                "properties": {
                    "roleDefinitionId": f"{site.subscription}/providers/"
                    f"Microsoft.Authorization/roleDefinitions/{ROLES[need.role]}",
                    "principalId": need.principal,
                    "principalType": need.principal_type,
                }
            },
        )
    say(f"{site.account.name} has the role {need.role} on {site.names.storage}")
    _wait_until_known(site, say)


def _wait_until_known(site: Site, say: Callable[[str], None]) -> None:
    """Wait until the storage account knows the role that was just given; that takes minutes.

    Where it takes longer, whoever reads or writes data is told what is missing.
    """
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import BlobServiceClient

    address = f"https://{site.names.storage}.blob.core.windows.net"
    deadline, told = time.monotonic() + KNOWN_WITHIN, False
    with BlobServiceClient(address, credential=site.account.credential) as client:
        while time.monotonic() < deadline:
            try:
                next(iter(client.list_containers(results_per_page=1)), None)
                return
            except HttpResponseError as error:
                if error.status_code != 403:
                    return  # not about the role
            if not told:
                say("waiting until the storage account knows that role; this may take minutes")
            told = True
            time.sleep(SECONDS)


def callers_need(site: Site) -> Need | None:
    """Return the data role of whoever is signed in; None where the storage is somebody else's."""
    if site.config.azure.bring.workspace or site.config.azure.bring.storage:
        return None
    account = site.account
    return Need(
        who=account.name,
        principal=account.principal,
        principal_type=account.principal_type,
        role="Storage Blob Data Contributor",
        scope=site.storage,
    )


def has(site: Site, need: Need) -> bool:
    """Tell whether a role is assigned there or above, to the principal or one of its groups."""
    wanted = ROLES[need.role]
    reaches = (
        one["properties"]
        for one in _assigned(site, need)
        if _reaches(one["properties"]["scope"], need.scope)
    )
    return any(one["roleDefinitionId"].lower().endswith(wanted) for one in reaches)


def permissions(site: Site, scope: str) -> list[dict[str, Any]]:
    """Return what whoever is signed in may do at a scope."""
    with explained("looking for your permissions"):
        return site.arm.list(f"{scope}/providers/Microsoft.Authorization/permissions", API)


def allows(granted: Iterable[Mapping[str, Any]], action: str) -> bool:
    """Tell whether one of the permissions allows an action."""
    return any(
        _fits(action, one.get("actions") or ()) and not _fits(action, one.get("notActions") or ())
        for one in granted
    )


def _assigned(site: Site, need: Need) -> list[dict[str, Any]]:
    """List a principal's roles at a scope, or at the subscription for one that is not there yet."""
    from azure.core.exceptions import ResourceNotFoundError

    kind = "providers/Microsoft.Authorization/roleAssignments"
    whose = f"assignedTo('{need.principal}')"
    with explained("looking for role assignments"):
        try:
            return site.arm.list(f"{need.scope}/{kind}", API, filter=whose)
        except ResourceNotFoundError:
            return site.arm.list(f"{site.subscription}/{kind}", API, filter=whose)


def _fits(action: str, patterns: Iterable[str]) -> bool:
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), action, re.IGNORECASE)
        for pattern in patterns
    )


def _reaches(scope: str, place: str) -> bool:
    return f"{place.lower()}/".startswith(f"{scope.lower().rstrip('/')}/")


def _name(need: Need) -> str:
    """Name an assignment by what it says, so that it is made once."""
    said = "/".join((need.scope, need.principal, ROLES[need.role])).lower()
    return str(uuid.uuid5(uuid.NAMESPACE_URL, said))
