"""Processes with all that they started: a group, known by its leader's id.

An id is another process's as soon as its own is gone and was waited for. So a leader's end is seen
without waiting for it, and its group is signalled only while the id is certainly still its own.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress


def code_of(leader: subprocess.Popen[bytes]) -> int | None:
    """Return a leader's exit code, or None while it runs; it keeps its id where the system can."""
    if leader.returncode is not None or not hasattr(os, "waitid"):
        return leader.poll()
    seen = os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if seen is None:
        return None
    return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status


def send(leader: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a leader and to all that it started."""
    if leader.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader.pid, number)
