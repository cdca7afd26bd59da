"""The sizes of machine that a region has, and which of them may serve an endpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hieno.targets.azure.failures import explained
from hieno.targets.azure.site import Site

ML = "2025-12-01"
COMPUTE = "2021-07-01"

# Microsoft's list of sizes for managed online endpoints (reference-managed-online-endpoints-vm-
# sku-list, read in November 2026), by family; letters and digits only, as spellings differ.
SERVING = frozenset(
    {
        *("dasv4", "dav4", "dsv2", "esv3", "fsv2", "fxmdvs", "lasv3", "lsv2", "lsv3"),
        *("ncadsa100v4", "ncasv3t4", "ncsv2", "ncsv3", "ncadsh100v5", "ndamsv4a100"),
        *("ndasv4a100", "ndsv2", "ndv5h100", "nvadsa10v5"),
    }
)
# The same list's column "Skip 20% Reservation".
EXEMPT = frozenset({"ncadsa100v4", "ncadsh100v5", "ndamsv4a100", "ndasv4a100", "ndsv2", "ndv5h100"})


@dataclass(frozen=True)
class Size:
    """One size of machine in one region."""

    name: str
    family: str
    cores: int
    memory_gb: float
    gpus: int
    low_priority: bool
    restriction: str = ""  # why this subscription may not have it

    @property
    def may_serve(self) -> bool:
        return plain(self.family) in SERVING

    def reserved(self, instances: int) -> int:
        """Return the cores that an endpoint's deployment takes of the quota.

        Azure keeps a fifth more, rounded up to whole instances, free for upgrades.
        """
        exempt = plain(self.family) in EXEMPT
        return self.cores * (instances if exempt else math.ceil(instances * 12 / 10))


def plain(family: str) -> str:
    """Return a family's name as it is compared: sources differ in case, spaces and strokes."""
    letters = "".join(letter for letter in family.lower() if letter.isalnum())
    return letters.removeprefix("standard").removesuffix("family")


def available(site: Site, location: str) -> dict[str, Size]:
    """Return the sizes that Azure ML has in a region, by their names in small letters."""
    place = f"{site.subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
    with explained(f"looking for sizes in {location}"):
        listed = site.arm.list(f"{place}/vmSizes", ML)
        restricted = _restrictions(site, location)
    return {
        one["name"].lower(): Size(
            name=one["name"],
            family=one.get("family", ""),
            cores=int(one.get("vCPUs", 0)),
            memory_gb=float(one.get("memoryGB", 0)),
            gpus=int(one.get("gpus", 0)),
            low_priority=bool(one.get("lowPriorityCapable")),
            restriction=restricted.get(one["name"].lower(), ""),
        )
        for one in listed
    }


def _restrictions(site: Site, location: str) -> dict[str, str]:
    """Return the sizes that are closed to this subscription, with Azure's word for why."""
    skus = site.arm.list(
        f"{site.subscription}/providers/Microsoft.Compute/skus",
        COMPUTE,
        filter=f"location eq '{location}'",
    )
    return {
        sku["name"].lower(): str(restriction.get("reasonCode", "restricted"))
        for sku in skus
        if sku.get("resourceType") == "virtualMachines"
        for restriction in sku.get("restrictions") or ()
        if restriction.get("type") == "Location"
    }
