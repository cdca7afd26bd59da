"""Whether the project's names are free."""

from __future__ import annotations

from typing import Any  # JSON of Azure

from hieno.doctor import Finding
from hieno.targets.azure import namesakes
from hieno.targets.azure.site import Site


def names(site: Site) -> list[Finding]:
    """Look for names that others have, and for removed things that still hold ours."""
    found = [
        Finding(
            "names",
            "fail",
            f"{one.kind} {one.name}: {one.why}",
            "set azure.suffix to letters of your own, such as x7k2",
        )
        for one in namesakes.taken(site)
    ]
    if (vault := namesakes.deleted_vault(site)) is not None:
        found.append(_removed(site, vault))
        if namesakes.workspace_went_with(site, vault):
            found.append(_held(site, vault))
    return found or [Finding("names", "ok", f"{site.names.workspace} and what belongs to it")]


def _removed(site: Site, vault: dict[str, Any]) -> Finding:
    name = site.names.vault
    if namesakes.is_ours(site, vault):
        text = f"the key vault {name} was removed and comes back with `hieno azure up`"
        return Finding("names", "ok", text)
    return Finding(
        "names",
        "fail",
        f"a removed key vault still holds the name {name}",
        f"az keyvault purge --name {name} --location {site.config.azure.location}; or set "
        "azure.suffix",
    )


def _held(site: Site, vault: dict[str, Any]) -> Finding:
    when = str(vault["properties"].get("deletionDate", "?"))[:10]
    return Finding(
        "names",
        "fail",
        f"the workspace {site.names.workspace} was removed with its key vault on {when}, and Azure "
        f"keeps its name for {namesakes.KEPT_DAYS} days",
        "`hieno azure down --purge` gives the name free, and what was in it is lost; or recover it "
        "in the Azure portal (Azure Machine Learning, Recently deleted); or set azure.suffix",
    )
