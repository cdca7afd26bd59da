"""What the project's things are called on Azure, within the rules of each service."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from hieno.config import Config

SUFFIX = 6  # of 32 letters: two projects of one name meet once in a billion

# Microsoft's naming rules; what is unique in a region or in the world ends in the suffix.
RULES: Mapping[str, str] = MappingProxyType(
    {
        "resource_group": r"[-\w.()]{0,89}[-\w()]",
        "stack": r"[-\w.()]{1,90}",
        "workspace": r"[a-zA-Z0-9][\w-]{2,32}",
        "storage": r"[a-z0-9]{3,24}",
        "vault": r"(?!.*--)[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
        "registry": r"[a-zA-Z0-9]{5,50}",
        "insights": r"[-\w.()]{1,254}[-\w()]",
        "logs": r"[a-zA-Z0-9][a-zA-Z0-9-]{2,61}[a-zA-Z0-9]",
        "identity": r"[a-zA-Z0-9][\w-]{2,127}",
        "jobs_identity": r"[a-zA-Z0-9][\w-]{2,127}",
        "cluster": r"[a-zA-Z](?!.*-\d+$)[a-zA-Z0-9-]{2,23}",
        "endpoint": r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]",
    }
)


@dataclass(frozen=True)
class Names:
    """The names of everything that the project has on Azure."""

    resource_group: str
    stack: str
    workspace: str
    storage: str
    vault: str
    registry: str
    insights: str
    logs: str
    identity: str
    jobs_identity: str
    cluster: str
    endpoint: str


def derive(config: Config, subscription: str) -> Names:
    """Return the names; the same project in the same subscription has them on every machine."""
    azure = config.azure
    name = config.name.lower()
    group = azure.resource_group or group_of(azure.bring.workspace) or f"rg-{name}"
    suffix = azure.suffix or _suffix(subscription, group, name)
    plain = name.replace("-", "")
    return Names(
        resource_group=group,
        stack=f"hieno-{name}",
        workspace=brought(azure.bring.workspace) or _ended(f"mlw-{name}", suffix, 33),
        storage=brought(azure.bring.storage) or f"st{plain[: 22 - len(suffix)]}{suffix}",
        vault=brought(azure.bring.vault) or _ended(f"kv-{name}", suffix, 24),
        registry=brought(azure.bring.registry) or f"cr{plain}{suffix}",
        insights=brought(azure.bring.insights) or f"appi-{name}",
        logs=f"log-{name}",
        identity=brought(azure.bring.identity) or f"id-{name}",
        jobs_identity=brought(azure.bring.identity) or f"id-{name}-jobs",
        cluster=_cluster(azure.cluster.size, low_priority=azure.cluster.low_priority),
        endpoint=_ended(config.endpoint.name.lower(), suffix, 32),
    )


def problems(names: Names) -> list[str]:
    """Say which names break their service's rule."""
    return [
        f"{kind.replace('_', ' ')} '{name}' is no name that Azure takes"
        for kind, name in asdict(names).items()
        if not re.fullmatch(RULES[kind], name, re.ASCII)
    ]


def brought(resource_id: str | None) -> str | None:
    """Return the name in a resource id."""
    return resource_id.rpartition("/")[2] if resource_id else None


def group_of(resource_id: str | None) -> str | None:
    """Return the resource group in a resource id."""
    return resource_id.split("/")[4] if resource_id else None


def _suffix(subscription: str, group: str, name: str) -> str:
    spoken = "/".join((subscription, group, name)).lower().encode()
    return base64.b32encode(hashlib.sha256(spoken).digest()).decode().lower()[:SUFFIX]


def _ended(name: str, suffix: str, longest: int) -> str:
    return f"{name[: longest - len(suffix) - 1].rstrip('-')}-{suffix}"


def _cluster(size: str, *, low_priority: bool) -> str:
    """Name a cluster by its machine: a size never changes, so another one is another cluster."""
    plain = size.removeprefix("Standard_").lower().replace("_", "-")
    ending = "-low" if low_priority else "-jobs"
    return f"{plain[: 24 - len(ending)].rstrip('-')}{ending}"
