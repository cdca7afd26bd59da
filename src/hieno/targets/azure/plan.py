"""What `up` would change on Azure, and what the result costs: a what-if in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal  # Any: answers of Azure's client, and JSON

from hieno.targets.azure import providers, roles, scaling, stack, template
from hieno.targets.azure.failures import explain, explained
from hieno.targets.azure.kinds import kind_of, last_name, words
from hieno.targets.azure.prices import Price, Prices
from hieno.targets.azure.site import Site

GROUPS = "2025-04-01"
LITTLE = {
    "registry": "container registry",
    "storage": "what is stored",
    "logs": "what is logged",
    "vault": "key vault",
}
SIGNS = {"make": "+", "change": "~", "remove": "-", "keep": "="}
ACTIONS: dict[str, Literal["make", "change", "remove", "keep"]] = {
    "create": "make",
    "deploy": "change",
    "modify": "change",
    "delete": "remove",
    "nochange": "keep",
}


@dataclass(frozen=True)
class Change:
    """One thing that `up` makes, changes, removes or leaves as it is."""

    action: Literal["make", "change", "remove", "keep"]
    kind: str
    name: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cost:
    """Something that is billed, and while what is so."""

    what: str
    during: str
    price: Price


@dataclass(frozen=True)
class Plan:
    """All changes and costs; `state` is the stack's, or missing."""

    account: str
    subscription: str
    resource_group: str
    location: str
    state: str
    changes: tuple[Change, ...]
    costs: tuple[Cost, ...]

    @property
    def is_needed(self) -> bool:
        moving = any(change.action != "keep" for change in self.changes)
        return moving or self.state != "succeeded"


def make(site: Site, prices: Prices | None = None) -> Plan:
    """Ask Azure what applying the template would change; nothing is changed."""
    azure = site.config.azure
    with explained(f"looking for the resource group {site.names.resource_group}"):
        group = site.arm.find(site.group, GROUPS)
    found = None if group is None else stack.find(site)
    changes = [Change("make", "resource provider", name) for name in providers.missing(site)]
    if group is None:
        changes.append(Change("make", "resource group", site.names.resource_group))
        changes += _declared(site)
    else:
        changes += _what_if(site, found)
    changes += _callers_role(site)
    return Plan(
        account=site.account.name,
        subscription=site.account.subscription,
        resource_group=site.names.resource_group,
        location=azure.location,
        state="missing" if found is None else stack.state(found),
        changes=tuple(changes),
        costs=tuple(costs(site, prices or Prices(azure.location, azure.currency))),
    )


def costs(site: Site, prices: Prices) -> Iterator[Cost]:
    """Yield what the project's settings lead to on the bill."""
    cluster, serving = site.config.azure.cluster, site.config.azure.endpoint
    least, most = site.config.endpoint.instances, scaling.most(site.config)
    node = prices.machine(cluster.size, low_priority=cluster.low_priority)
    yield Cost(f"each of at most {cluster.max_nodes} x {cluster.size}", "while a job runs", node)
    longest = cluster.hours * (node.times(cluster.nodes).amount or 0)
    most_of_job = min(longest, cluster.budget or longest) if node.amount else None
    job = f"the longest training, {cluster.hours:g} h on {cluster.nodes}"
    yield Cost(job, "if nothing ends it before", replace(node, amount=most_of_job, unit="job"))
    served = prices.machine(serving.size)
    yield Cost(f"{least} x {serving.size}", "until `hieno down`", served.times(least))
    if most > least:
        busy = f"under load, {most} x {serving.size}"
        yield Cost(busy, "instead of these, as long as it lasts", served.times(most))
    if site.config.azure.bring.workspace:
        return
    for kind in ("registry", "storage", "logs", "vault"):
        if getattr(site.config.azure.bring, kind, None) is None:
            yield Cost(LITTLE[kind], "until `hieno azure down`", prices.of(kind))


def lines(plan: Plan) -> list[str]:
    """Return a plan in words, a line for each change and each cost."""
    moving = [change for change in plan.changes if change.action != "keep"]
    kept = len(plan.changes) - len(moving)
    text = [
        f"{plan.resource_group} in {plan.location}, subscription {plan.subscription}, "
        f"as {plan.account}"
    ]
    for change in moving:
        text.append(f"  {SIGNS[change.action]} {change.kind:<20}  {change.name}")
        text += [f"      {detail}" for detail in change.details]
    if kept:
        text.append(f"  = {kept} as they are")
    if not plan.is_needed:
        text.append("nothing to do")
    asked = min(cost.price.asked for cost in plan.costs)
    text.append(f"what it costs (Azure's public list, asked on {asked}; ? is not in it)")
    wide, deep = (max(map(len, column)) for column in zip(*map(_columns, plan.costs), strict=True))
    for cost in plan.costs:
        what, price = _columns(cost)
        text.append(f"  {what:<{wide}}  {price:<{deep}}  {cost.during}")
    return text


def document(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON; an unknown price is null."""
    return {**asdict(plan), "is_needed": plan.is_needed}


def _columns(cost: Cost) -> tuple[str, str]:
    return cost.what, str(cost.price)


def _what_if(site: Site, found: Any | None) -> Iterator[Change]:
    body = {
        "properties": {
            "mode": "Incremental",
            "template": template.render(site.config),
            "parameters": template.parameters(site.config, site.names),
        }
    }
    with explained("asking what would change"):
        answer = site.arm.deployments.deployments.begin_what_if(
            site.names.resource_group, site.names.stack, body
        ).result()
    if answer.error:
        raise explain(answer, "asking what would change")
    wanted: set[str] = set()
    for change in answer.properties.changes if answer.properties else ():
        action = ACTIONS.get(_word(change.change_type))
        if action is None:  # Ignore: beside the template; Unsupported: not known before
            continue
        wanted.add(str(change.resource_id).lower())
        details = tuple(_details(change.delta or ())) if action == "change" else ()
        kind = kind_of(change.resource_id)
        name = _role(change) if kind == "role" else last_name(change.resource_id)
        yield Change(action, kind, name, details)
    for resource_id in stack.managed(found) if found is not None else ():
        if resource_id.lower() not in wanted:
            yield Change("remove", kind_of(resource_id), last_name(resource_id))


def _declared(site: Site) -> Iterator[Change]:
    """Read from the template itself what a first `up` makes."""
    values = template.parameters(site.config, site.names)
    for name, resource in template.render(site.config)["resources"].items():
        if resource["type"] == template.ROLE:
            yield Change("make", "role", _spoken(name))
            continue
        parameter = re.findall(r"parameters\('(\w+)'\)", resource["name"])[-1]
        yield Change("make", words(resource["type"]), values[parameter]["value"])


def _callers_role(site: Site) -> Iterator[Change]:
    need = roles.callers_need(site)
    if need is not None and site.config.azure.assign_roles:
        action: Literal["make", "keep"] = "keep" if roles.has(site, need) else "make"
        yield Change(action, "role", f"{need.role} for {need.who}")


def _details(changes: Any, above: str = "") -> Iterator[str]:
    for change in changes:
        path = f"{above}.{change.path}".lstrip(".")
        if change.children:
            yield from _details(change.children, path)
        elif _word(change.property_change_type) != "noeffect":
            yield f"{path}: {_shown(change.before)} -> {_shown(change.after)}"


def _role(change: Any) -> str:
    """Name a role by what the template calls it, or by which one it is."""
    if change.symbolic_name:
        return _spoken(change.symbolic_name)
    definition = str(((change.after or {}).get("properties") or {}).get("roleDefinitionId", ""))
    by_id = {role_id: name for name, role_id in roles.ROLES.items()}
    scope = last_name(str(change.resource_id).rpartition("/providers/")[0])
    role = by_id.get(last_name(definition).lower(), last_name(change.resource_id))
    return f"{role} on {scope}"


def _spoken(symbol: str) -> str:
    """Return a symbolic name as words: jobsPullImages says what the role is for."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", symbol).lower()


def _word(value: Any) -> str:
    """Return the word of an enumeration of Azure's client, in small letters."""
    return str(getattr(value, "value", value)).lower()


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
