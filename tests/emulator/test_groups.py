"""A group of processes is signalled only while its id is certainly its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from emulator.ml import groups
from waiting import wait_until


@pytest.mark.skipif(sys.platform != "linux", reason="others cannot look without waiting")
def test_what_an_ended_leader_started_is_ended_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["bash", "-c", "sleep 60 & echo $!; exit 3"]
    leader = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout is not None
    with leader.stdout as said:
        started = psutil.Process(int(said.readline()))
    wait_until(lambda: groups.code_of(leader) is not None)
    assert groups.code_of(leader) == 3
    groups.send(leader, signal.SIGKILL)
    psutil.wait_procs([started], timeout=10)
    assert not started.is_running() or started.status() == psutil.STATUS_ZOMBIE
    assert leader.wait() == 3
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda *given: sent.append(given))
    groups.send(leader, signal.SIGKILL)  # its id may be another's by now
    assert sent == []


def test_a_leader_that_a_signal_ended_says_so() -> None:
    leader = subprocess.Popen(["sleep", "60"], start_new_session=True)
    assert groups.code_of(leader) is None
    groups.send(leader, signal.SIGTERM)
    wait_until(lambda: groups.code_of(leader) is not None)
    assert groups.code_of(leader) == leader.wait() == -signal.SIGTERM
