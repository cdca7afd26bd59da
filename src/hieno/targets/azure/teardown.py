"""Take away what our stack made, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any  # JSON of Azure

from hieno.errors import HienoError
from hieno.targets.azure import kinds, namesakes, scaling, stack
from hieno.targets.azure.failures import explained
from hieno.targets.azure.site import Site

GROUPS = "2025-04-01"
ML = "2025-12-01"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Doomed:
    """Ids of what goes: autoscale rules and endpoints first, then what the stack manages, then our
    empty group.
    """

    rules: tuple[str, ...]
    endpoints: tuple[str, ...]
    resources: tuple[str, ...]
    group: str | None

    @property
    def is_empty(self) -> bool:
        return not (self.rules or self.endpoints or self.resources or self.group)


def doomed(site: Site) -> Doomed:
    """List what `down` would take away."""
    found = stack.wait(site)
    resources = tuple(stack.managed(found)) if found is not None else ()
    with explained("looking for what is there"):
        group = site.arm.find(site.group, GROUPS)
        ours = group is not None and _is_ours(group.get("tags") or {}, site)
        within = site.arm.list(f"{site.group}/resources", GROUPS) if group else []
        endpoints = _endpoints(site, resources)
    rules = _rules(site, within)
    left = {one["id"].lower() for one in within} - {one.lower() for one in (*resources, *rules)}
    # Parts of what goes, such as an endpoint of the workspace, go with it.
    left = {one for one in left if not any(one.startswith(f"{r.lower()}/") for r in resources)}
    return Doomed(rules, endpoints, resources, site.group if ours and not left else None)


def lines(going: Doomed) -> list[str]:
    """Say what goes, a line each."""
    roles = sum(kinds.kind_of(one) == "role" for one in going.resources)
    text = [
        f"  - {kinds.kind_of(one):<20}  {kinds.last_name(one)}"
        for one in (*going.rules, *going.endpoints, *going.resources)
        if kinds.kind_of(one) != "role"
    ]
    if roles:
        text.append(f"  - {'roles':<20}  {roles}")
    if going.group:
        text.append(f"  - {'resource group':<20}  {kinds.last_name(going.group)}")
    return text


def down(site: Site, going: Doomed, say: Say, *, purge: bool) -> None:
    """Take it away; called again, it goes on with what is left.

    Without `purge` the workspace and the key vault can be brought back for some days, and their
    names stay taken so long.
    """
    names = site.names
    with explained("removing the autoscale rules"):
        for rule in going.rules:
            site.arm.remove(rule, scaling.API)
    for endpoint in going.endpoints:
        say(f"removing the endpoint {kinds.last_name(endpoint)}; this may take half an hour")
        with explained(f"removing the endpoint {kinds.last_name(endpoint)}"):
            site.arm.remove(endpoint, ML)
    if purge and not site.config.azure.bring.workspace:
        say(f"purging the workspace {names.workspace}")
        with explained(f"purging the workspace {names.workspace}"):
            site.arm.remove(site.workspace, ML, forceToPurge="true")
    if going.resources or stack.find(site) is not None:
        say(f"removing {len(going.resources)} resources; this takes some minutes")
        with explained(f"removing the stack {names.stack}"):
            site.arm.stacks.deployment_stacks.begin_delete_at_resource_group(
                names.resource_group,
                names.stack,
                unmanage_action_resources="delete",
                unmanage_action_resource_groups="detach",
                bypass_stack_out_of_sync_error=True,
            ).result()
    if purge:
        _purge_vault(site, say)
    if going.group:
        say(f"removing the empty resource group {names.resource_group}")
        with explained(f"removing the resource group {names.resource_group}"):
            site.arm.remove(going.group, GROUPS)
    if left := doomed(site).resources:
        raise HienoError(
            f"{len(left)} resources are still there: {', '.join(map(kinds.last_name, left))}",
            hint="`hieno azure down` goes on with them",
        )


def _endpoints(site: Site, resources: tuple[str, ...]) -> tuple[str, ...]:
    """Return all endpoints of a workspace that goes, or our own in one that stays."""
    if site.arm.find(site.workspace, ML) is None:
        return ()
    found = [str(one["id"]) for one in site.arm.list(f"{site.workspace}/onlineEndpoints", ML)]
    if site.workspace.lower() in {one.lower() for one in resources}:
        return tuple(found)
    return tuple(one for one in found if kinds.last_name(one) == site.names.endpoint)


def _rules(site: Site, within: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return our autoscale rules, also those whose endpoint somebody has removed by hand."""
    kind = scaling.TYPE.lower()
    return tuple(
        str(one["id"])
        for one in within
        if one["type"].lower() == kind and _is_ours(one.get("tags") or {}, site)
    )


def _is_ours(tags: dict[str, str], site: Site) -> bool:
    return all(tags.get(name) == value for name, value in site.tags.items())


def _purge_vault(site: Site, say: Say) -> None:
    found = namesakes.deleted_vault(site)
    if found is None or not namesakes.is_ours(site, found):
        return
    say(f"purging the key vault {site.names.vault}")
    with explained(f"purging the key vault {site.names.vault}"):
        site.arm.post(f"{found['id']}/purge", namesakes.VAULTS)
