"""Loopback ports."""

from __future__ import annotations

import socket


def listens(port: int) -> bool:
    """Tell whether a server takes connections at a port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
