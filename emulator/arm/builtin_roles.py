"""The built-in roles that are pretended, with what they allow."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Any  # Any: JSON

_WRITERS = "Microsoft.Authorization/*/write"
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_ML = "Microsoft.MachineLearningServices/workspaces"


@dataclass(frozen=True)
class Role:
    """A built-in role: what it allows, and what it does not although a pattern says so."""

    id: str
    name: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()

    def allows(self, action: str) -> bool:
        """Tell whether the role allows an action or, for what is in a blob, a data action."""
        if _fits(action, f"{_BLOBS}/blobs/*"):
            return any(_fits(action, pattern) for pattern in self.data_actions)
        if any(_fits(action, pattern) for pattern in self.not_actions):
            return False
        return any(_fits(action, pattern) for pattern in self.actions)

    def permission(self) -> dict[str, Any]:
        """Return what it allows as a role definition lists it."""
        return {
            "actions": list(self.actions),
            "notActions": list(self.not_actions),
            "dataActions": list(self.data_actions),
            "notDataActions": [],
        }


ROLES = (
    Role("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", ("*",)),
    Role(
        "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Contributor",
        ("*",),
        ("Microsoft.Authorization/*/delete", _WRITERS),
    ),
    Role("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", ("*/read",)),
    Role(
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        "User Access Administrator",
        ("*/read", "Microsoft.Authorization/*"),
    ),
    Role(
        "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
        "Role Based Access Control Administrator",
        (
            "*/read",
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
        ),
    ),
    Role(
        "7f951dda-4ed3-4680-a7ca-43fe172d538d",
        "AcrPull",
        ("Microsoft.ContainerRegistry/registries/pull/read",),
    ),
    Role(
        "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        "Storage Blob Data Reader",
        (f"{_BLOBS}/read",),
        data_actions=(f"{_BLOBS}/blobs/read",),
    ),
    Role(
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "Storage Blob Data Contributor",
        (f"{_BLOBS}/read", f"{_BLOBS}/write", f"{_BLOBS}/delete"),
        data_actions=(f"{_BLOBS}/blobs/*",),
    ),
    Role(
        "f6c7c914-8db3-469d-8ca1-694a8f32e121",
        "AzureML Data Scientist",
        (f"{_ML}/*/read", f"{_ML}/*/action", f"{_ML}/*/delete", f"{_ML}/*/write", f"{_ML}/read"),
        (f"{_ML}/delete", f"{_ML}/write", f"{_ML}/computes/*/write", f"{_ML}/computes/*/delete"),
    ),
    Role(
        "0e5f05e5-9ab9-446b-b98d-1e2157c94125",
        "Quota Request Operator",
        ("Microsoft.Quota/*", "Microsoft.Resources/subscriptions/*/read"),
    ),
)


def find_role(definition_id: str) -> Role | None:
    """Return the role that a definition's id, or its last word, names."""
    wanted = definition_id.lower().rsplit("/", 1)[-1]
    return next((role for role in ROLES if role.id == wanted), None)


def _fits(action: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(action.lower(), pattern.lower())
