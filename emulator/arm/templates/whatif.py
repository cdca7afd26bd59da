"""What a template would change, property by property.

Azure's own what-if is noisier: it reports defaults that a service fills in as removals, and cannot
foresee some types at all. This one compares what is written with what is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any  # Any: resources are JSON

from emulator.arm.resources import Resource
from emulator.arm.templates.template import Planned, Template

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_COMPARED = ("location", "tags", "sku", "kind", "identity", "properties")
_ASIDE = ("microsoft.resources/", "microsoft.authorization/")


def changes(cloud: Cloud, template: Template) -> list[dict[str, Any]]:
    """Return the changes as a what-if lists them; what the template leaves alone is `Ignore`."""
    listed = [_change(cloud, planned) for planned in template.resources]
    named = {planned.id.key for planned in template.resources}
    others = [
        one for one in cloud.resources.within(template.scope.group) if one.id.key not in named
    ]
    return [*listed, *(_ignored(one) for one in others if _stands_alone(one))]


def difference(before: Any, after: Any) -> list[dict[str, Any]]:
    """Return the changes between two objects; what `after` does not mention stays as it is."""
    return list(_differences(before, after, ""))


def _change(cloud: Cloud, planned: Planned) -> dict[str, Any]:
    after = _with_id(planned, planned.foreseen())
    found = cloud.resources.get(planned.id)
    change = {"resourceId": planned.id.text, "after": after}
    if found is None:
        return {**change, "changeType": "Create"}
    before = found.shown()
    delta = difference(_part(before), _part(after))
    kind = "Modify" if delta else "NoChange"
    return {**change, "changeType": kind, "before": before, "delta": delta}


def _ignored(resource: Resource) -> dict[str, Any]:
    shown = resource.shown()
    return {"resourceId": resource.id.text, "changeType": "Ignore", "before": shown, "after": shown}


def _with_id(planned: Planned, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": planned.id.text,
        "name": planned.id.name,
        "type": planned.id.type,
        "apiVersion": planned.api_version,
        **body,
    }


def _part(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: body[key] for key in _COMPARED if key in body}


def _stands_alone(resource: Resource) -> bool:
    tail = resource.id.text.rpartition("/providers/")[2]
    return len(tail.split("/")) == 3 and not tail.lower().startswith(_ASIDE)


def _differences(before: Any, after: Any, path: str) -> Iterator[dict[str, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        theirs = {key.lower(): value for key, value in before.items()}
        for key, value in after.items():
            inner = f"{path}.{key}" if path else key
            yield from _differences(theirs.get(key.lower()), value, inner)
    elif isinstance(before, list) and isinstance(after, list):
        if before != after:
            yield {
                "path": path,
                "propertyChangeType": "Array",
                "before": before,
                "after": after,
                "children": _children(before, after),
            }
    elif before is None and after is not None:
        yield {"path": path, "propertyChangeType": "Create", "before": None, "after": after}
    elif _is_other(before, after):
        yield {"path": path, "propertyChangeType": "Modify", "before": before, "after": after}


def _children(before: list[Any], after: list[Any]) -> list[dict[str, Any]]:
    added = [one for one in after if one not in before]
    removed = [one for one in before if one not in after]
    return [
        *(_element(before.index(one), "Delete", one, None) for one in removed),
        *(_element(after.index(one), "Create", None, one) for one in added),
    ]


def _element(index: int, kind: str, before: Any, after: Any) -> dict[str, Any]:
    return {"path": str(index), "propertyChangeType": kind, "before": before, "after": after}


def _is_other(before: Any, after: Any) -> bool:
    if after is None or before == after:
        return False
    if isinstance(before, str) and isinstance(after, str):
        # ids and names are compared without case; a reference that is not known yet is no change
        return before.lower() != after.lower() and not after.startswith("[")
    return True
