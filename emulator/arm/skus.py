"""A few sizes of virtual machine, as Azure lists them: the tutorial's, and some to fall back to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any  # Any: JSON

REGIONS = ("eastus", "eastus2", "westus3", "westeurope", "swedencentral")

_A100 = "standardNCADSA100v4Family"
_EXEMPT = ("a100", "h100", "ndv")  # families from which an endpoint takes no reserve


@dataclass(frozen=True)
class Size:
    """One size of virtual machine."""

    name: str
    family: str
    cores: int
    memory_gb: int
    gpus: int = 0
    disk_gb: int = 64
    low_priority: bool = True
    absent: tuple[str, ...] = field(default=())  # regions that do not have it
    restricted: tuple[str, ...] = field(
        default=()
    )  # regions that do not give it to this subscription

    @property
    def reserve(self) -> bool:
        """Whether an online endpoint takes quota for a fifth more instances, rounded up."""
        return not any(word in self.family.lower() for word in _EXEMPT)

    def listed(self) -> dict[str, Any]:
        """Return it as Azure ML's list of sizes has it."""
        return {
            "name": self.name,
            "family": self.family,
            "vCPUs": self.cores,
            "gpus": self.gpus,
            "osVhdSizeMB": 1047552,
            "maxResourceVolumeMB": self.disk_gb * 1024,
            "memoryGB": self.memory_gb,
            "lowPriorityCapable": self.low_priority,
            "premiumIO": True,
            "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
        }


SIZES = (
    Size("Standard_DS3_v2", "standardDSv2Family", 4, 14, disk_gb=28),
    Size("Standard_F4s_v2", "standardFSv2Family", 4, 8, disk_gb=32),
    Size("Standard_E4s_v3", "standardESv3Family", 4, 32),
    Size("Standard_E8s_v3", "standardESv3Family", 8, 64, disk_gb=128),
    Size("Standard_E16s_v3", "standardESv3Family", 16, 128, disk_gb=256),
    Size("Standard_NC6s_v3", "standardNCSv3Family", 6, 112, 1, 736, absent=("swedencentral",)),
    Size("Standard_NC24ads_A100_v4", _A100, 24, 220, 1, restricted=("westeurope",)),
    Size("Standard_NC48ads_A100_v4", _A100, 48, 440, 2, 128, restricted=("westeurope",)),
)


def find_size(name: str) -> Size | None:
    """Return a size by its name, however it is spelt."""
    return next((size for size in SIZES if size.name.lower() == name.lower()), None)


def sizes_in(region: str) -> list[Size]:
    """Return the sizes that a region has."""
    return [size for size in SIZES if region.lower() not in size.absent]
