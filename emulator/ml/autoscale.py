"""Autoscale settings: kept as they are sent, their bounds applied; no metric moves them here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.arm.errors import ArmError
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource
from emulator.ml import deployments

if TYPE_CHECKING:
    from emulator.cloud import Cloud

TYPE = "Microsoft.Insights/autoscaleSettings"


def kinds() -> list[Kind]:
    """Return the type."""
    return [Kind(TYPE, fill=_fill, has_state=False)]


def _fill(cloud: Cloud, setting: Resource, old: Resource | None) -> None:
    properties = setting.properties
    target = cloud.resources.get(properties.get("targetResourceUri") or "")
    if target is None or target.id.type.lower() != deployments.TYPE.lower():
        message = f"targetResourceUri '{properties.get('targetResourceUri')}' cannot be scaled."
        raise ArmError(400, "BadRequest", message)
    profiles = properties.get("profiles") or []
    if not profiles:
        raise ArmError(400, "BadRequest", "An autoscale setting needs a profile.")
    for profile in profiles:
        bounds = profile["capacity"]
        least, usual, most = (int(bounds[key]) for key in ("minimum", "default", "maximum"))
        if not 1 <= least <= usual <= most:
            message = "The capacity must be 1 <= minimum <= default <= maximum for an endpoint."
            raise ArmError(400, "BadRequest", message)
    properties.setdefault("name", setting.id.name)
    if properties.get("enabled", True):
        bounds = profiles[0]["capacity"]
        now = int(target.body["sku"]["capacity"])
        wanted = min(max(now, int(bounds["minimum"])), int(bounds["maximum"]))
        deployments.scale(cloud, target, wanted)
