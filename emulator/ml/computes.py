"""Clusters: nodes that come when a job needs them, are billed while they are there, and go again.

A minute in which a node is idle lasts a second here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any  # Any: JSON

from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.kinds import Kind
from emulator.arm.quota import LOW_PRIORITY, cores_of
from emulator.arm.resources import Resource, now
from emulator.arm.skus import find_size
from emulator.ml.durations import seconds

if TYPE_CHECKING:
    from emulator.cloud import Cloud

TYPE = "Microsoft.MachineLearningServices/workspaces/computes"
_IDLE_MINUTE = 1.0
_IDLE_BEFORE = 120.0  # what Azure takes where nobody says


@dataclass
class Nodes:
    """The nodes that a cluster has at this moment."""

    busy: int = 0
    idle: int = 0
    preempted: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def all(self) -> int:
        """How many are billed."""
        return self.busy + self.idle


def kinds() -> list[Kind]:
    """Return the type."""
    return [
        Kind(
            TYPE,
            fill=_fill,
            build=_build,
            refuse_removal=_refuse_removal,
            remove=_remove,
            slow_removal=True,
        )
    ]


def is_low_priority(cluster: Resource) -> bool:
    """Tell whether a cluster's nodes may be taken away."""
    return str(_inner(cluster).get("vmPriority", "")).lower() == "lowpriority"


def lease(cloud: Cloud, id: ResourceId, count: int, stopped: threading.Event) -> bool:
    """Wait for `count` nodes of a cluster; False where the job was stopped meanwhile.

    Without quota for them the job waits, as Azure's does.
    """
    nodes = nodes_of(cloud.resources.require(id))
    with nodes.changed:
        while not stopped.is_set():
            cluster = cloud.resources.require(id)
            if _most(cluster) - nodes.busy >= count and _has_quota(cloud, cluster, count):
                nodes.idle -= min(count, nodes.idle)
                nodes.busy += count
                _show(cloud, id)
                return True
            nodes.changed.wait(0.1)
    return False


def release(cloud: Cloud, id: ResourceId, count: int, *, preempted: bool = False) -> None:
    """Give nodes back: idle ones go after a while, preempted ones at once."""
    cluster = cloud.resources.get(id)
    if cluster is None:
        return
    nodes = nodes_of(cluster)
    with nodes.changed:
        nodes.busy = max(0, nodes.busy - count)
        if preempted:
            nodes.preempted += count
        else:
            nodes.idle += count
        _show(cloud, id)
        nodes.changed.notify_all()
    if not preempted:
        _go_later(cloud, id)


def nodes_of(cluster: Resource) -> Nodes:
    """Return a cluster's nodes."""
    found: Nodes = cluster.private.setdefault("nodes", Nodes())
    return found


def _fill(cloud: Cloud, cluster: Resource, old: Resource | None) -> None:
    properties, inner = cluster.properties, _inner(cluster)
    if properties.get("computeType") != "AmlCompute":
        raise ArmError(400, "UserError", f"{properties.get('computeType')} is not emulated.")
    if old and str(_inner(old)["vmSize"]).lower() != str(inner.get("vmSize", "")).lower():
        raise ArmError(400, "UserError", "The VM size of a cluster cannot be changed.")
    scale = inner.setdefault("scaleSettings", {})
    least, most = scale.setdefault("minNodeCount", 0), scale.get("maxNodeCount")
    if not isinstance(most, int) or not 0 <= least <= most:
        raise ArmError(400, "UserError", "minNodeCount and maxNodeCount must be 0 <= min <= max.")
    inner.setdefault("vmPriority", "Dedicated")
    _check_quota(cloud, cluster, most)
    moment = now()
    inner |= {"allocationState": "Steady", "errors": None, "allocationStateTransitionTime": moment}
    properties |= {
        "computeLocation": cluster.body.get("location") or _region(cloud, cluster),
        "createdOn": (old.properties if old else {}).get("createdOn", moment),
        "modifiedOn": moment,
        "isAttachedCompute": False,
        "provisioningErrors": None,
    }
    _count(cluster)


def _check_quota(cloud: Cloud, cluster: Resource, most: int) -> None:
    size, region = str(_inner(cluster).get("vmSize", "")), _region(cloud, cluster)
    found = find_size(size)
    if found is None or region in (*found.absent, *found.restricted):
        raise ArmError(400, "SkuNotAvailable", f"The size {size} is not available in {region}.")
    family = LOW_PRIORITY if is_low_priority(cluster) else found.family
    limit, wanted = cloud.quota.limit(region, family), cores_of(found, most, endpoint=False)
    if wanted > limit:
        raise ArmError(
            400,
            "ClusterCoreQuotaReached",
            f"Operation results in exceeding quota limits of {family}. Maximum allowed: {limit},"
            f" Additional requested: {wanted}.",
        )


def _build(cloud: Cloud, cluster: Resource) -> None:
    nodes, least = nodes_of(cluster), int(_inner(cluster)["scaleSettings"]["minNodeCount"])
    with nodes.changed:
        nodes.idle += max(0, least - nodes.all)
        _show(cloud, cluster.id)
        nodes.changed.notify_all()
    _go_later(cloud, cluster.id)


def _refuse_removal(cloud: Cloud, cluster: Resource) -> None:
    if nodes_of(cluster).busy:
        raise ArmError(409, "Conflict", f"The cluster '{cluster.id.name}' is in use by a job.")


def _remove(cloud: Cloud, cluster: Resource) -> None:
    cloud.quota.release(cluster.id.text)


def _go_later(cloud: Cloud, id: ResourceId) -> None:
    """Let idle nodes go when they were idle long enough."""
    scale = _inner(cloud.resources.require(id))["scaleSettings"]
    wait = seconds(scale.get("nodeIdleTimeBeforeScaleDown"), _IDLE_BEFORE) / 60 * _IDLE_MINUTE

    def go() -> None:
        cluster = cloud.resources.get(id)
        if cluster is None:
            return
        nodes = nodes_of(cluster)
        with nodes.changed:
            least = int(_inner(cluster)["scaleSettings"]["minNodeCount"])
            nodes.idle = max(0, min(nodes.idle, least - nodes.busy))
            _show(cloud, id)

    timer = threading.Timer(wait, go)
    timer.daemon = True
    timer.start()
    cloud.closing.callback(timer.cancel)


def _show(cloud: Cloud, id: ResourceId) -> None:
    """Let the cluster and the bill tell how many nodes there are."""
    cluster = cloud.resources.require(id)
    _count(cluster)
    _take_quota(cloud, cluster, nodes_of(cluster).all)
    inner = _inner(cluster)
    meter = f"{inner['vmSize']}{' Low Priority' if is_low_priority(cluster) else ''}"
    cloud.ledger.begin(id.text, meter, nodes_of(cluster).all, by_the_hour=True)


def _has_quota(cloud: Cloud, cluster: Resource, count: int) -> bool:
    nodes = nodes_of(cluster)
    try:
        _take_quota(cloud, cluster, nodes.busy + max(nodes.idle, count))
    except ArmError as error:
        _inner(cluster)["errors"] = [{"error": error.body()}]
        return False
    return True


def _take_quota(cloud: Cloud, cluster: Resource, count: int) -> None:
    low, size = is_low_priority(cluster), str(_inner(cluster)["vmSize"])
    region = _region(cloud, cluster)
    cloud.quota.take(cluster.id.text, region, size, count, low_priority=low)


def _count(cluster: Resource) -> None:
    nodes, inner = nodes_of(cluster), _inner(cluster)
    inner["currentNodeCount"] = nodes.all
    inner["targetNodeCount"] = nodes.all
    inner["nodeStateCounts"] = {
        "idleNodeCount": nodes.idle,
        "runningNodeCount": nodes.busy,
        "preparingNodeCount": 0,
        "unusableNodeCount": 0,
        "leavingNodeCount": 0,
        "preemptedNodeCount": nodes.preempted,
    }


def _most(cluster: Resource) -> int:
    return int(_inner(cluster)["scaleSettings"]["maxNodeCount"])


def _inner(cluster: Resource) -> dict[str, Any]:
    inner: dict[str, Any] = cluster.properties.setdefault("properties", {})
    return inner


def _region(cloud: Cloud, cluster: Resource) -> str:
    return cloud.resources.require(cluster.id.parent).region
