"""How a resource comes, changes and goes: the same for a plain PUT, a template and a stack."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any  # Any: resources are JSON

from emulator.arm import identities, retention
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId, canonical
from emulator.arm.kinds import Kind
from emulator.arm.operations import Operation
from emulator.arm.resources import Resource, missing, now
from emulator.settings import PROVIDERS

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_SENT = ("location", "tags", "sku", "kind", "identity", "plan", "zones", "managedBy", "properties")


@dataclass(frozen=True)
class Applied:
    """What a PUT did."""

    resource: Resource
    created: bool
    operation: Operation | None = None


def apply(cloud: Cloud, id: ResourceId, body: dict[str, Any]) -> Applied:
    """Make or change a resource; where that takes long, it goes on in `operation`."""
    id = ResourceId(canonical(id.text, cloud.kinds.words))
    kind = cloud.kinds.of(id)
    with cloud.resources.lock:
        _require_registration(cloud, id)
        _require_parent(cloud, id)
        old = cloud.resources.get(id)
        if old is None:
            retention.refuse_retained(cloud, id, body)
        else:
            id = old.id
            _refuse_busy(old)
        resource = Resource(id, _body(id, body), old.private if old else {})
        if kind.stamped:
            resource.body["systemData"] = _stamp(old)
        identities.fill(cloud, resource, old)
        kind.fill(cloud, resource, old)
        resource.busy = kind.build is not None
        if kind.has_state:
            working = "Updating" if old else "Creating"
            resource.properties["provisioningState"] = working if resource.busy else "Succeeded"
        cloud.resources.put(resource)
    operation = _start(cloud, kind, resource) if resource.busy else None
    return Applied(resource, old is None, operation)


def remove(cloud: Cloud, id: ResourceId, *, purge: bool = False) -> Operation | None:
    """Take a resource away with all that lies in it. Returns the operation where that takes long.

    Raises 409 while something works on it, and what its kind refuses with.
    """
    with cloud.resources.lock:
        resource = cloud.resources.require(id)
        _refuse_busy(resource)
        kind = cloud.kinds.of(resource.id)
        kind.refuse_removal(cloud, resource)
        if kind.slow_removal:
            resource.busy = True
            if kind.has_state:
                resource.properties["provisioningState"] = "Deleting"
    if not kind.slow_removal:
        _take_away(cloud, resource.id, purge=purge)
        return None

    def work() -> None:
        _take_away(cloud, resource.id, purge=purge)

    def failed(_: ArmError) -> None:
        _settle(kind, resource, "Failed")

    return cloud.operations.start(resource.id.text, _address(cloud, resource.id), work, failed)


def _take_away(cloud: Cloud, id: ResourceId, *, purge: bool) -> None:
    for resource in [*cloud.resources.within(id), cloud.resources.require(id)]:
        kind = cloud.kinds.of(resource.id)
        kind.remove(cloud, resource)
        identities.forget(cloud, resource)
        cloud.ledger.end(resource.id.text)
        if kind.retained and not purge:
            retention.keep(cloud, resource)
        cloud.resources.remove(resource.id)


def _start(cloud: Cloud, kind: Kind, resource: Resource) -> Operation:
    build = kind.build
    assert build is not None  # noqa: S101 - only a kind that builds makes a resource busy

    def work() -> None:
        build(cloud, resource)
        _settle(kind, resource, "Succeeded")

    def failed(_: ArmError) -> None:
        _settle(kind, resource, "Failed")

    return cloud.operations.start(resource.id.text, _address(cloud, resource.id), work, failed)


def _settle(kind: Kind, resource: Resource, state: str) -> None:
    if kind.has_state:
        resource.properties["provisioningState"] = state
    resource.busy = False


def _address(cloud: Cloud, id: ResourceId) -> str:
    namespace = id.type.split("/", 1)[0]
    return f"{cloud.subscription}/providers/{namespace}/locations/eastus2"


def _body(id: ResourceId, sent: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": id.text,
        "name": id.name,
        "type": id.type,
        **{key: deepcopy(sent[key]) for key in _SENT if sent.get(key) is not None},
        "properties": deepcopy(sent.get("properties") or {}),
    }


def _stamp(old: Resource | None) -> dict[str, str]:
    moment = now()
    before = old.body.get("systemData", {}) if old else {}
    return {
        "createdAt": before.get("createdAt", moment),
        "createdBy": "caller",
        "createdByType": "User",
        "lastModifiedAt": moment,
        "lastModifiedBy": "caller",
        "lastModifiedByType": "User",
    }


def _require_registration(cloud: Cloud, id: ResourceId) -> None:
    namespace = id.type.split("/", 1)[0]
    if namespace in PROVIDERS and namespace not in cloud.registered:
        raise ArmError(
            409,
            "MissingSubscriptionRegistration",
            f"The subscription is not registered to use namespace '{namespace}'. See"
            " https://aka.ms/rps-not-found for how to register subscriptions.",
        )


def _require_parent(cloud: Cloud, id: ResourceId) -> None:
    group = ResourceId(id.group)
    if group.text and group.key != id.key and cloud.resources.get(group) is None:
        raise missing(group)
    parent = id.parent
    if "/providers/" in parent.key and cloud.resources.get(parent) is None:
        raise ArmError(
            404,
            "ParentResourceNotFound",
            f"Failed to perform 'write' on resource(s) of type '{id.type}', because the parent"
            f" resource '{parent.text}' could not be found.",
        )


def _refuse_busy(resource: Resource) -> None:
    if resource.busy:
        message = f"Another operation is in progress on '{resource.id.name}'; try again later."
        raise ArmError(409, "Conflict", message)
