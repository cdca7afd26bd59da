"""Autoscale settings: their bounds applied, and their rules when a metric is said to have a value.

No load of this machine moves them: `measure` says what a metric is, and each call is one look of
Azure's. The time windows and cool-downs of the rules are checked, and not waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any  # Any: JSON

from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.kinds import Kind
from emulator.arm.resources import Resource
from emulator.ml import deployments, monitor
from emulator.ml.durations import seconds

if TYPE_CHECKING:
    from emulator.cloud import Cloud

TYPE = "Microsoft.Insights/autoscaleSettings"
_MOST_RULES = 10
_MINUTE, _HOUR, _WEEK = 60, 3_600, 7 * 86_400


def kinds() -> list[Kind]:
    """Return the type."""
    return [Kind(TYPE, fill=_fill, has_state=False)]


def measure(
    cloud: Cloud, resource: str, values: Mapping[str, float], *, late: bool = False
) -> None:
    """Let metrics of a resource have values, and every setting about them look once.

    Where instances are `late`, their deployment is Scaling until `arrive`; it is billed at once.
    """
    for setting in cloud.resources.of_type(TYPE):
        target = cloud.resources.get(setting.properties["targetResourceUri"])
        if target is None or not setting.properties.get("enabled", False):
            continue
        profile = setting.properties["profiles"][0]
        rules = [
            rule
            for rule in profile["rules"]
            if ResourceId(rule["metricTrigger"]["metricResourceUri"]).key
            == ResourceId(resource).key
        ]
        step = _step(rules, values)
        if step:
            bounds = profile["capacity"]
            now = int(target.body["sku"]["capacity"]) + step
            wanted = min(max(now, int(bounds["minimum"])), int(bounds["maximum"]))
            deployments.scale(cloud, target, wanted)
            deployments.become(target, scaling=late)


def arrive(cloud: Cloud) -> None:
    """Let every deployment that is Scaling be done with it."""
    for one in cloud.resources.of_type(deployments.TYPE):
        if one.properties["provisioningState"] == "Scaling":
            deployments.become(one, scaling=False)


def _step(rules: list[dict[str, Any]], values: Mapping[str, float]) -> int:
    """Return how many instances come or go: out where one rule says so, in where all do."""
    out = [rule for rule in rules if rule["scaleAction"]["direction"] == "Increase"]
    inwards = [rule for rule in rules if rule["scaleAction"]["direction"] == "Decrease"]
    for rule in out:
        if _holds(rule["metricTrigger"], values):
            return int(rule["scaleAction"].get("value") or 1)
    if inwards and all(_holds(rule["metricTrigger"], values) for rule in inwards):
        return -int(inwards[0]["scaleAction"].get("value") or 1)
    return 0


def _holds(trigger: Mapping[str, Any], values: Mapping[str, float]) -> bool:
    value = values.get(trigger["metricName"])
    if value is None:
        return False
    threshold = float(trigger["threshold"])
    return value > threshold if trigger["operator"] == "GreaterThan" else value < threshold


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
        _check_rules(cloud, profile.get("rules") or [])
    properties.setdefault("name", setting.id.name)
    if properties.get("enabled", False):
        bounds = profiles[0]["capacity"]
        now = int(target.body["sku"]["capacity"])
        wanted = min(max(now, int(bounds["minimum"])), int(bounds["maximum"]))
        deployments.scale(cloud, target, wanted)


def _check_rules(cloud: Cloud, rules: list[dict[str, Any]]) -> None:
    if len(rules) > _MOST_RULES:
        raise ArmError(400, "BadRequest", f"A profile has at most {_MOST_RULES} rules.")
    for rule in rules:
        trigger, action = rule["metricTrigger"], rule["scaleAction"]
        _check_metric(cloud, trigger)
        for where, part, least, most in (
            ("timeGrain", trigger, _MINUTE, 12 * _HOUR),
            ("timeWindow", trigger, 5 * _MINUTE, 12 * _HOUR),
            ("cooldown", action, _MINUTE, _WEEK),
        ):
            if not least <= seconds(part[where], 0) <= most:
                message = f"{where} '{part[where]}' is not between {least} and {most} seconds."
                raise ArmError(400, "BadRequest", message)
        if int(action.get("value") or 1) < 1:
            raise ArmError(400, "BadRequest", "The value of a scaleAction must be 1 or greater.")


def _check_metric(cloud: Cloud, trigger: Mapping[str, Any]) -> None:
    measured = cloud.resources.get(trigger["metricResourceUri"])
    if measured is None:
        message = f"metricResourceUri '{trigger['metricResourceUri']}' was not found."
        raise ArmError(400, "BadRequest", message)
    known = monitor.KNOWN.get(measured.id.type.lower(), set())
    if trigger["metricName"] not in known:
        message = f"'{trigger['metricName']}' is no metric of {measured.id.type}."
        raise ArmError(400, "BadRequest", message)
