"""Autoscale rules: Azure adds and takes away a deployment's instances as its load wants.

The rules are resources of their own, which outlive what they are about. So a tag of the endpoint
says, before the first is made, that there are some; whoever removes a deployment removes them
first, and nobody who has none needs a right to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any  # ARM's JSON, and the endpoint's own keywords

from hieno.config import Config
from hieno.endpoint.state import COLOURS
from hieno.files import digest_json
from hieno.targets.azure import serving
from hieno.targets.azure.arm import Arm
from hieno.targets.azure.client import Workspace
from hieno.targets.azure.failures import explained
from hieno.targets.azure.images import has_gpu
from hieno.targets.azure.serving import SCALE, Seen

TYPE = "Microsoft.Insights/autoscaleSettings"
API = "2022-10-01"
CHANGING = "changing"

Setting = dict[str, Any]


def most(config: Config) -> int:
    """Return how many instances a deployment may have."""
    return max(config.endpoint.instances, config.azure.endpoint.scale.max_instances or 1)


def are_current(workspace: Workspace, config: Config, seen: Seen) -> bool:
    """Tell whether the endpoint has the rules that the project wants, as its tag says."""
    return seen.tags.get(SCALE, "") == _mark(_settings(workspace, config, seen))


def ensure(workspace: Workspace, config: Config) -> None:
    """Give the rules to whoever has traffic, and take them from everybody else."""
    with explained("setting the autoscale rules"):
        seen = serving.read(workspace)
        if seen is None or are_current(workspace, config, seen):
            return
        wanted = _settings(workspace, config, seen)
        serving.change(workspace, scale=CHANGING)
        group, endpoint = _group(workspace), workspace.names.endpoint
        with _arm(workspace) as arm:
            for name, setting in wanted.items():
                arm.put(_id(group, endpoint, name), API, setting)
            if others := set(COLOURS) - set(wanted):
                remove_from(arm, group, endpoint, *others)
        serving.change(workspace, scale=_mark(wanted))


def remove(workspace: Workspace, seen: Seen, *names: str) -> None:
    """Remove the rules of deployments, of all where none is named."""
    if seen.tags.get(SCALE):
        with _arm(workspace) as arm:
            remove_from(arm, _group(workspace), workspace.names.endpoint, *names)


def remove_from(arm: Arm, group: str, endpoint: str, *names: str) -> None:
    """Remove rules by the id of their resource group; what is not there is no mistake."""
    for name in names or COLOURS:
        arm.remove(_id(group, endpoint, name), API)


def bounds(setting: Mapping[str, Any]) -> str:
    """Say between how many instances a setting's deployment is kept."""
    capacity = setting["properties"]["profiles"][0]["capacity"]
    return f"{capacity['minimum']} to {capacity['maximum']} by load"


def _settings(workspace: Workspace, config: Config, seen: Seen) -> dict[str, Setting]:
    if config.azure.endpoint.scale.max_instances is None:
        return {}
    names = sorted(name for name, share in seen.traffic.items() if share)
    return {name: _setting(workspace, config, name) for name in names if name in seen.deployments}


def _setting(workspace: Workspace, config: Config, name: str) -> Setting:
    deployment = f"{workspace.id}/onlineEndpoints/{workspace.names.endpoint}/deployments/{name}"
    least = str(config.endpoint.instances)
    return {
        "location": workspace.location,
        "tags": {"managedBy": "hieno", "project": config.name},
        "properties": {
            "name": _name(workspace.names.endpoint, name),
            "enabled": True,
            "targetResourceUri": deployment,
            "targetResourceLocation": workspace.location,
            "profiles": [
                {
                    "name": "by load",
                    "capacity": {"minimum": least, "default": least, "maximum": str(most(config))},
                    "rules": list(_rules(config, deployment)),
                }
            ],
            "notifications": [],
        },
    }


def _rules(config: Config, deployment: str) -> Iterator[dict[str, Any]]:
    """Yield the rules; Azure adds where one of them says so, and takes away where all do."""
    serving, scale = config.azure.endpoint, config.azure.endpoint.scale
    unit = "GpuUtilizationPercentage" if has_gpu(serving.size) else "CpuUtilizationPercentage"
    triggers = [(unit, "GreaterThan", scale.busy), (unit, "LessThan", scale.quiet)]
    if scale.latency is not None:
        triggers.append(("RequestLatency_P90", "GreaterThan", round(scale.latency * 1000)))
    for metric, operator, threshold in triggers:
        yield {
            "metricTrigger": {
                "metricName": metric,
                "metricResourceUri": deployment,
                "timeGrain": "PT1M",
                "statistic": "Average",
                "timeWindow": f"PT{scale.minutes}M",
                "timeAggregation": "Average",
                "operator": operator,
                "threshold": threshold,
                "dividePerInstance": False,
            },
            "scaleAction": {
                "direction": "Increase" if operator == "GreaterThan" else "Decrease",
                "type": "ChangeCount",
                "value": "1",
                "cooldown": f"PT{scale.cooldown_minutes}M",
            },
        }


def _mark(wanted: Mapping[str, Setting]) -> str:
    return digest_json(wanted)[:16] if wanted else ""


def _group(workspace: Workspace) -> str:
    return f"/subscriptions/{workspace.account.subscription}/resourceGroups/{workspace.group}"


def _id(group: str, endpoint: str, name: str) -> str:
    return f"{group}/providers/{TYPE}/{_name(endpoint, name)}"


def _name(endpoint: str, name: str) -> str:
    """Name the rules by what they are about: the endpoint's name is the only one in its region."""
    return f"{endpoint}-{name}"


def _arm(workspace: Workspace) -> Arm:
    return Arm(workspace.account.credential, workspace.account.subscription)
