"""The parts of Azure that a subscription must have switched on."""

from __future__ import annotations

import time
from collections.abc import Callable

from hieno.errors import Unreachable
from hieno.targets.azure.failures import explained
from hieno.targets.azure.site import Site

API = "2025-04-01"
NEEDED = (
    "Microsoft.MachineLearningServices",
    "Microsoft.Storage",
    "Microsoft.KeyVault",
    "Microsoft.ContainerRegistry",
    "Microsoft.Insights",
    "Microsoft.OperationalInsights",
    "Microsoft.ManagedIdentity",
)
WAIT = 600.0  # a registration takes a minute or two
SECONDS = 5.0


def missing(site: Site) -> list[str]:
    """Return the providers that are not registered."""
    with explained("looking for resource providers"):
        return [name for name in NEEDED if _state(site, name) != "registered"]


def register(site: Site, say: Callable[[str], None]) -> None:
    """Register what is missing, and wait until Azure knows it."""
    lacking = missing(site)
    for name in lacking:
        say(f"registering {name}")
        with explained(f"registering {name}"):
            site.arm.resources.providers.register(name)
    deadline = time.monotonic() + WAIT
    while lacking and (lacking := missing(site)):
        if time.monotonic() > deadline:
            raise Unreachable(
                f"{', '.join(lacking)} is still being registered",
                hint="type the same command again in a few minutes",
            )
        time.sleep(SECONDS)


def _state(site: Site, name: str) -> str:
    found = site.arm.get(f"{site.subscription}/providers/{name}", API)
    return str(found.get("registrationState", "")).lower()
