"""Ports: one that is free for a process to come, or one that this process takes at once.

Who looks for a free port and binds it later may meet another who has looked as well. What can
bind its port itself takes it here; what cannot is found again by `processes.listens`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from hieno.errors import Busy, UsageError

LOOPBACK = "127.0.0.1"
LAST = 65_535
BACKLOG = 1024  # connections that wait to be accepted


def reserve(port: int = 0, *, host: str = LOOPBACK, tries: int = 1) -> socket.socket:
    """Take a port, or the next of so many that nobody has; nothing listens on it until `listen`.

    0 lets the operating system choose. Raises `Busy`, and `UsageError` for an address that no
    server of ours can have.
    """
    if not 0 <= port <= LAST:
        raise UsageError(f"there is no port {port}", hint=f"ports are 1 to {LAST}")
    last = min(port + tries - 1, LAST)
    for each in range(port, last + 1):
        try:
            return _bound(host, each)
        except OSError as error:
            if tries == 1 and error.errno != errno.EADDRINUSE:
                raise UsageError(
                    f"nothing can listen on {host}:{port}: {error.strerror}",
                    hint="name another address with --host, or another --port",
                ) from None
    taken = f"ports {port} to {last} are all" if last > port else f"port {last} is"
    raise Busy(f"{taken} taken", hint="name another with --port, or end what uses it")


def listen(reserved: socket.socket) -> None:
    """Let clients connect to a port that `reserve` has taken."""
    # Before: connections of an earlier server may linger. Its own inherit this, for the next one.
    _share(reserved, True)
    reserved.listen(BACKLOG)


def number(reserved: socket.socket) -> int:
    """Return the port that `reserve` has taken."""
    return int(reserved.getsockname()[1])


def free_port(preferred: int = 0) -> int:
    """Return `preferred` or, where it is taken, the next free loopback port after it.

    Without a preference the operating system chooses. Raises `Busy` after 100 taken ports.
    """
    with reserve(preferred, tries=100 if preferred else 1) as found:
        return number(found)


def candidates(preferred: int = 0) -> Iterator[int]:
    """Yield `preferred` or the next free loopback port, and a further one wherever it was lost.

    For a server that takes its port itself, some time after it was looked for. Who asks for a
    further one has failed to start it; there is none where the port is free, as that was not why.
    """
    while True:
        found = free_port(preferred)
        yield found
        if port_is_free(found):
            return


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port now."""
    try:
        reserve(port).close()
    except (Busy, UsageError):
        return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the protocol is named: 5 ms instead of 50
    protocol = socket.IPPROTO_TCP
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=protocol
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        _share(bound, True)
        bound.bind(address)
        # Linux would let a second one bind it as long as nobody listens.
        _share(bound, False)
    except OSError:
        bound.close()
        raise
    return bound


def _share(listener: socket.socket, shared: bool) -> None:
    """Let a port be taken over from connections that linger after their server has ended."""
    if os.name != "nt":  # there the option would let two servers share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shared)
