"""Names that are taken: by others, or by what was removed and is not yet forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any  # JSON of Azure

from hieno.targets.azure.failures import explained
from hieno.targets.azure.site import Site

VAULTS = "2025-05-01"
ML = "2025-12-01"
KEPT_DAYS = 14  # for which Azure ML keeps the name of a workspace that was removed; so our vault

# What must be unique in the world: its type, the API's version, and the type's name in the check.
CHECKED = {
    "storage": ("Microsoft.Storage/storageAccounts", "2025-06-01"),
    "registry": ("Microsoft.ContainerRegistry/registries", "2025-11-01"),
    "vault": ("Microsoft.KeyVault/vaults", VAULTS),
}


@dataclass(frozen=True)
class Taken:
    """A name that cannot be used."""

    kind: str
    name: str
    why: str


def taken(site: Site) -> list[Taken]:
    """Return the names that somebody else has."""
    return list(_taken(site))


def ours_is_deleted(site: Site) -> bool:
    """Tell whether our own vault was removed before: it then comes back instead of a new one."""
    return (found := deleted_vault(site)) is not None and is_ours(site, found)


def deleted_vault(site: Site) -> dict[str, Any] | None:
    """Return the removed vault that still holds our name, where we may see it."""
    place = f"{site.subscription}/providers/Microsoft.KeyVault"
    with explained("looking for removed key vaults"):
        for one in site.arm.list(f"{place}/deletedVaults", VAULTS):
            if one["name"].lower() == site.names.vault.lower():
                return one
    return None


def workspace_went_with(site: Site, vault: dict[str, Any]) -> bool:
    """Tell whether our workspace was removed as well, and so most likely holds its name still.

    Azure lists removed vaults, and no removed workspaces; `down` removes both together.
    """
    if site.config.azure.bring.workspace or not is_ours(site, vault):
        return False
    with explained("looking for the workspace"):
        return site.arm.find(site.workspace, ML) is None


def is_ours(site: Site, vault: dict[str, Any]) -> bool:
    """Tell whether a removed vault lay in our own resource group."""
    ours = site.id("Microsoft.KeyVault/vaults", site.names.vault)
    return str(vault["properties"]["vaultId"]).lower() == ours.lower()


def _taken(site: Site) -> Iterator[Taken]:
    bring = site.config.azure.bring
    for kind, (resource_type, version) in CHECKED.items():
        name = getattr(site.names, kind)
        if bring.workspace or getattr(bring, kind):
            continue
        with explained(f"asking whether {name} is free"):
            if site.arm.find(site.id(resource_type, name), version) is not None:
                continue  # it is there, and ours
            provider, _, plural = resource_type.partition("/")
            answer = site.arm.post(
                f"{site.subscription}/providers/{provider}/checkNameAvailability",
                version,
                {"name": name, "type": f"{provider}/{plural}"},
            )
        if answer.get("nameAvailable", True):
            continue
        if kind == "vault" and ours_is_deleted(site):
            continue  # `up` recovers it
        yield Taken(kind, name, str(answer.get("message") or answer.get("reason") or "it is taken"))
