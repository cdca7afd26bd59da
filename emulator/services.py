"""Which services there are; each registers its kinds of resources and its routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator import control, login, ml, prices, storage
from emulator.arm import plane

if TYPE_CHECKING:
    from emulator.cloud import Cloud


def install(cloud: Cloud) -> None:
    """Put every service into the cloud."""
    cloud.hosts.add(login.HOST, login.routes(cloud))
    cloud.hosts.add("127.0.0.1", login.node_routes(cloud))
    cloud.hosts.add("127.0.0.1", control.routes(cloud))
    plane.install(cloud)
    prices.register(cloud)
    storage.register(cloud)
    ml.register(cloud)
    plane.mount(cloud)
