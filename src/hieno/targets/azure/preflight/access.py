"""Who is signed in, and what they and the project's identities may do."""

from __future__ import annotations

from hieno.doctor import Finding
from hieno.targets.azure import roles
from hieno.targets.azure.failures import explained
from hieno.targets.azure.providers import missing
from hieno.targets.azure.roles import Need
from hieno.targets.azure.site import Site

GROUPS = "2025-04-01"
SUBSCRIPTIONS = "2022-12-01"
IDENTITIES = "2024-11-30"

# What `up` and the stages do; Contributor on the resource group may do all but the last.
ACTIONS = (
    "Microsoft.Resources/deployments/write",
    "Microsoft.Resources/deploymentStacks/write",
    "Microsoft.MachineLearningServices/workspaces/write",
    "Microsoft.MachineLearningServices/workspaces/computes/write",
    "Microsoft.MachineLearningServices/workspaces/jobs/write",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write",
)
SCALES = "Microsoft.Insights/autoscaleSettings/write"


def signed_in(site: Site) -> Finding:
    """Say who is signed in, and where."""
    with explained("looking at your subscription"):
        found = site.arm.get(site.subscription, SUBSCRIPTIONS)
    name = found.get("displayName", "?")
    text = f"{site.account.name}, subscription {name} ({site.account.subscription})"
    if found.get("state") != "Enabled":
        remedy = "choose another with azure.subscription"
        return Finding("sign-in", "fail", f"{text} is {found.get('state')}", remedy)
    return Finding("sign-in", "ok", text)


def providers(site: Site) -> list[Finding]:
    """Look for resource providers that are not registered; `up` registers them."""
    lacking = missing(site)
    if not lacking:
        return [Finding("providers", "ok", "all registered")]
    lines = "; ".join(f"az provider register --namespace {name}" for name in lacking)
    text = f"{', '.join(lacking)} not registered yet; `hieno azure up` does it"
    return [Finding("providers", "warn", text, lines)]


def callers_roles(site: Site) -> list[Finding]:
    """Look at what whoever is signed in may do, and at their data role."""
    with explained("looking for the resource group"):
        is_there = site.arm.find(site.group, GROUPS) is not None
    scope = site.group if is_there else site.subscription
    granted = roles.permissions(site, scope)
    found = [_may_make(site, scope, granted)]
    if site.config.azure.assign_roles:
        found.append(_may_assign(site, scope, granted))
    need = roles.callers_need(site)
    if need is not None and is_there and _exists(site, need.scope, "2025-06-01"):
        found.append(_has("your data", site, need))
    return found


def identities_roles(site: Site) -> list[Finding]:
    """Look for the roles of the identities of the endpoint and the jobs, once they are there."""
    with explained("looking for the identities"):
        needs = list(_identities_needs(site))
    if not needs:
        return [Finding("identities", "ok", "`hieno azure up` makes them")]
    lacking = [need for need in needs if not roles.has(site, need)]
    if not lacking:
        return [Finding("identities", "ok", f"{len(needs)} roles as needed")]
    return [
        Finding("identities", "fail", f"{need.who} has no {need.role}", _ask(need))
        for need in lacking
    ]


def _may_make(site: Site, scope: str, granted: list[dict[str, object]]) -> Finding:
    scales = site.config.azure.endpoint.scale.max_instances is not None
    wanted = (*ACTIONS, SCALES) if scales else ACTIONS
    lacking = [action for action in wanted if not roles.allows(granted, action)]
    if not lacking:
        return Finding("your roles", "ok", "you may make what the project needs")
    need = _callers(site, "Contributor", scope)
    return Finding("your roles", "fail", f"you may not do {', '.join(lacking)}", _ask(need))


def _may_assign(site: Site, scope: str, granted: list[dict[str, object]]) -> Finding:
    if roles.allows(granted, roles.ASSIGN):
        return Finding("giving roles", "ok", "you may give the identities their roles")
    need = _callers(site, "Role Based Access Control Administrator", scope)
    text = "you may not give roles"
    remedy = (
        f"{_ask(need)}; or set azure.assign_roles to false, `hieno azure up`, and `hieno azure "
        "doctor` prints what an administrator must type"
    )
    return Finding("giving roles", "fail", text, remedy)


def _has(name: str, site: Site, need: Need) -> Finding:
    if roles.has(site, need):
        return Finding(name, "ok", f"{need.who} has {need.role}")
    return Finding(name, "fail", f"{need.who} has no {need.role}", _ask(need))


def _identities_needs(site: Site) -> list[Need]:
    """Return the roles of our identities, for those that exist on what exists."""
    storage, registry = _backing(site)
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
    wanted = (
        (site.names.identity, "Storage Blob Data Reader", storage),
        (site.names.identity, "AcrPull", registry),
        (site.names.jobs_identity, "Storage Blob Data Contributor", storage),
        (site.names.jobs_identity, "AcrPull", registry),
    )
    found = []
    for name, role, scope in wanted:
        identity_id = site.config.azure.bring.identity or site.id(kind, name)
        identity = site.arm.find(identity_id, IDENTITIES)
        if identity is not None and scope:
            principal = str(identity["properties"]["principalId"])
            found.append(Need(name, principal, "ServicePrincipal", role, scope))
    return found


def _backing(site: Site) -> tuple[str | None, str | None]:
    """Return the storage account and the registry of the workspace, where it is there."""
    found = site.arm.find(site.workspace, "2025-12-01")
    properties = (found or {}).get("properties") or {}
    return properties.get("storageAccount"), properties.get("containerRegistry")


def _exists(site: Site, resource_id: str, version: str) -> bool:
    with explained("looking for the storage account"):
        return site.arm.find(resource_id, version) is not None


def _callers(site: Site, role: str, scope: str) -> Need:
    account = site.account
    return Need(account.name, account.principal, account.principal_type, role, scope)


def _ask(need: Need) -> str:
    return f"an administrator types: {need.line}"
