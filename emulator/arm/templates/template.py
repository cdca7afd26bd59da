"""What a template comes to: resources in an order in which they can be made, and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any  # Any: templates are JSON

from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId, canonical
from emulator.arm.templates.expressions import (
    evaluate,
    invalid,
    invocations,
    is_expression,
    parse,
)
from emulator.arm.templates.parameters import read_parameters
from emulator.arm.templates.scope import Scope, typed

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_NOT_SENT = ("type", "name", "apiVersion", "dependsOn", "condition", "scope", "copy", "existing")


@dataclass(frozen=True)
class Planned:
    """One resource of a template. Its body can wait until what it refers to exists."""

    id: ResourceId
    api_version: str
    raw: Mapping[str, Any]
    scope: Scope
    after: frozenset[str] = field(default=frozenset())  # ids, small

    def body(self) -> dict[str, Any]:
        """Return what would be sent. Raises 400 where it refers to what is not there."""
        body: dict[str, Any] = self.scope.value(self._sent())
        return body

    def foreseen(self) -> dict[str, Any]:
        """Return what would be sent as far as it is known before anything is made."""
        body: dict[str, Any] = self.scope.value_or_text(self._sent())
        return body

    def _sent(self) -> dict[str, Any]:
        return {key: value for key, value in self.raw.items() if key not in _NOT_SENT}


@dataclass(frozen=True)
class Template:
    """A template with its parameters, in a resource group."""

    resources: tuple[Planned, ...]  # in an order in which they can be made
    outputs: Mapping[str, Mapping[str, Any]]
    scope: Scope

    def output_values(self) -> dict[str, dict[str, Any]]:
        """Return the outputs."""
        return {
            name: {"type": one["type"], "value": self.scope.value(one["value"])}
            for name, one in self.outputs.items()
        }


def read_template(cloud: Cloud, group: str, properties: Mapping[str, Any]) -> Template:
    """Read the `template` and `parameters` of a deployment. Raises 400."""
    template = properties.get("template")
    if not isinstance(template, dict):
        raise invalid("There is no template; the emulator follows no templateLink.")
    for wanted in ("$schema", "contentVersion", "resources"):
        if wanted not in template:
            raise invalid(f"The required property '{wanted}' is not found.")
    found = cloud.resources.require(group)
    scope = Scope(
        found.id.text,
        cloud.settings.tenant,
        found.region,
        read_parameters(template, properties.get("parameters") or {}),
        template.get("variables") or {},
        _look_up(cloud),
    )
    planned = dict(_planned(cloud, scope, template["resources"]))
    return Template(_ordered(planned), template.get("outputs") or {}, scope)


def _look_up(cloud: Cloud) -> Callable[[str], dict[str, Any] | None]:
    def body(id: str) -> dict[str, Any] | None:
        resource = cloud.resources.get(id)
        return resource.shown() if resource else None

    return body


def _planned(
    cloud: Cloud, scope: Scope, resources: Mapping[str, Any] | list[Mapping[str, Any]]
) -> Iterator[tuple[str, Planned]]:
    symbolic = isinstance(resources, Mapping)
    named: list[tuple[str, Mapping[str, Any]]] = (
        list(resources.items())
        if isinstance(resources, Mapping)
        else [(str(index), raw) for index, raw in enumerate(resources)]
    )
    turns = [(name, raw, inner) for name, raw in named for inner in _turns(scope, raw)]
    placed = [
        (name, raw, inner, ResourceId(canonical(_id(inner, raw), cloud.kinds.words)))
        for name, raw, inner in turns
    ]
    if symbolic:
        scope.symbols.update({name.lower(): id.text for name, _, _, id in placed})
    for _, raw, inner, id in placed:
        if raw.get("existing") or not inner.value(raw.get("condition", True)):
            continue
        if id.type.lower() == "microsoft.resources/deployments":
            raise ArmError(501, "NotEmulated", "The emulator does not know nested deployments.")
        yield id.key, Planned(id, str(raw["apiVersion"]), raw, inner, _after(inner, raw))


def _turns(scope: Scope, raw: Mapping[str, Any]) -> list[Scope]:
    loop = raw.get("copy")
    if not loop:
        return [scope]
    count = scope.value(loop["count"])
    return [scope.in_loop(loop["name"], turn) for turn in range(count)]


def _id(scope: Scope, raw: Mapping[str, Any]) -> str:
    for wanted in ("type", "name", "apiVersion"):
        if wanted not in raw:
            raise invalid(f"A resource lacks the property '{wanted}'.")
    base = scope.value(raw["scope"]) if raw.get("scope") else scope.group
    if not base.startswith("/"):
        base = f"{scope.group}/providers/{base}"
    return base + typed(raw["type"], scope.value(raw["name"]).split("/"))


def _after(scope: Scope, raw: Mapping[str, Any]) -> frozenset[str]:
    """Return what a resource waits for: what it names, and what it refers to by `reference`."""
    named = [
        scope.symbols.get(str(one).lower()) or scope.value(one) for one in raw.get("dependsOn", [])
    ]
    return frozenset(str(one).lower() for one in (*named, *_referred(scope, raw)))


def _referred(scope: Scope, raw: Any) -> Iterator[str]:
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            yield from _referred(scope, key)
            yield from _referred(scope, value)
    elif isinstance(raw, list):
        for value in raw:
            yield from _referred(scope, value)
    elif is_expression(raw):
        for call in invocations(parse(raw[1:-1])):
            if call.name.lower() == "reference":
                target = str(evaluate(call.arguments[0], scope.call))
                yield scope.symbols.get(target.lower(), target)


def _ordered(planned: Mapping[str, Planned]) -> tuple[Planned, ...]:
    """Order by what waits for what.

    Resources that wait for nothing are made from the last one to the first: Azure makes them all at
    once, and a dependency that the author forgot mostly points backwards.
    """
    waiting, done = dict(reversed(list(planned.items()))), []
    while waiting:
        ready = [key for key, one in waiting.items() if not _waits(one, waiting)]
        if not ready:
            raise invalid(f"Circular dependency detected on resource: '{next(iter(waiting))}'.")
        done.append(waiting.pop(ready[0]))
    return tuple(done)


def _waits(one: Planned, waiting: Mapping[str, Planned]) -> bool:
    return any(
        key != one.id.key and (key in one.after or key.rsplit("/", 1)[1] in one.after)
        for key in waiting
    )
