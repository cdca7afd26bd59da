"""What a run pretends to be: a tenant, a subscription, who calls, how much may be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TENANT = "11111111-1111-4111-8111-111111111111"
SUBSCRIPTION = "00000000-0000-4000-8000-0000000000aa"


PROVIDERS = (
    "Microsoft.Authorization",
    "Microsoft.Compute",
    "Microsoft.ContainerRegistry",
    "Microsoft.Insights",
    "Microsoft.KeyVault",
    "Microsoft.MachineLearningServices",
    "Microsoft.ManagedIdentity",
    "Microsoft.OperationalInsights",
    "Microsoft.Quota",
    "Microsoft.Resources",
    "Microsoft.Storage",
)


@dataclass(frozen=True)
class Settings:
    """One pretended Azure. The defaults are a paid subscription whose caller may do everything."""

    tenant: str = TENANT
    subscription: str = SUBSCRIPTION
    caller: str = "33333333-3333-4333-8333-333333333333"
    secret: str = "emulated"  # noqa: S105 - opens nothing but the emulator itself
    caller_roles: tuple[str, ...] = ("Owner", "Storage Blob Data Contributor")
    registered: bool = True  # whether the subscription's resource providers are registered
    quota: Mapping[str, int] = field(default_factory=dict)  # family -> cores, over the defaults
    taken_names: tuple[str, ...] = ()  # names that somebody else in Azure holds, small
    grants_quota: bool = True  # whether a quota request is approved
    builds_images: bool = False  # whether the pins of images are really installed
    image_variables: Mapping[str, str] = field(default_factory=dict)  # what every image has
