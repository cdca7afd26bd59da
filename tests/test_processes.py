"""Processes: started detached, known again, ended alone."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hieno import processes
from hieno.processes import ProcessId
from waiting import wait_until

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def wait_for_text(path: Path, text: str) -> None:
    wait_until(lambda: path.exists() and text in path.read_text(encoding="utf-8"))


def test_a_started_process_is_known_and_ended_by_its_identity(tmp_path: Path) -> None:
    process = processes.start_detached(SLEEPER, log=tmp_path / "logs" / "a.log")
    assert processes.is_alive(process)
    assert processes.identify(process.pid) == process
    assert processes.stop(process) is True
    assert not processes.is_alive(process)
    assert processes.stop(process) is False


def test_the_listener_of_a_port_is_told_from_others(tmp_path: Path) -> None:
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = ours.getsockname()[1]
        assert processes.listens(processes.identify(os.getpid()), port)
        sleeper = processes.start_detached(SLEEPER, log=tmp_path / "a.log")
        assert not processes.listens(sleeper, port)
        processes.stop(sleeper)
        assert not processes.listens(sleeper, port)


def test_a_reused_process_id_is_not_ended(tmp_path: Path) -> None:
    process = processes.start_detached(SLEEPER, log=tmp_path / "a.log")
    earlier = replace(process, started=process.started - 60)
    assert not processes.is_alive(earlier)
    assert processes.stop(earlier) is False
    assert processes.is_alive(process)
    assert processes.stop(process) is True


def test_a_process_that_ended_by_itself_is_not_alive(tmp_path: Path) -> None:
    process = processes.start_detached([sys.executable, "-c", "pass"], log=tmp_path / "a.log")
    wait_until(lambda: not processes.is_alive(process))


def test_children_end_with_their_parent_and_strangers_do_not(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('child', child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "a.log"
    process = processes.start_detached([sys.executable, "-c", parent], log=log)
    stranger = processes.start_detached(SLEEPER, log=tmp_path / "b.log")
    wait_for_text(log, "child")
    child = processes.identify(int(log.read_text(encoding="utf-8").split()[1]))
    assert processes.is_alive(child)
    processes.stop(process)
    assert not processes.is_alive(child)
    assert processes.is_alive(stranger)
    processes.stop(stranger)


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without asking")
def test_a_process_that_ignores_the_request_is_killed_after_the_grace(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n"
    log = tmp_path / "a.log"
    command = [sys.executable, "-c", deaf + "time.sleep(600)"]
    process = processes.start_detached(command, log=log)
    wait_for_text(log, "up")
    assert processes.stop(process, grace=0.2) is True
    assert not processes.is_alive(process)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_log_is_private_and_is_continued(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for word in ("first", "second"):
        command = [sys.executable, "-c", f"import sys; print('{word}', file=sys.stderr)"]
        process = processes.start_detached(command, log=log)
        wait_until(lambda alive=process: not processes.is_alive(alive))  # type: ignore[misc]
    assert log.read_text(encoding="utf-8") == "first\nsecond\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_it_goes_on_when_the_command_that_started_it_ends(tmp_path: Path) -> None:
    starter = (
        "import sys\nfrom pathlib import Path\nfrom hieno import processes\n"
        "process = processes.start_detached(\n"
        "    [sys.executable, '-c', 'import time; time.sleep(600)'], log=Path(sys.argv[1]))\n"
        "print(process.pid, process.started)\n"
    )
    command = [sys.executable, "-c", starter, str(tmp_path / "a.log")]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stderr == ""
    pid, started = done.stdout.split()
    process = ProcessId(int(pid), float(started))
    assert processes.is_alive(process)
    if os.name != "nt":
        assert os.getsid(process.pid) != os.getsid(0)
    assert processes.stop(process) is True


def test_an_id_that_nobody_has_is_nobody() -> None:
    free = max(psutil.pids()) + 100_000
    assert processes.identify(free) == ProcessId(free, 0.0)
    assert not processes.is_alive(ProcessId(free, 0.0))
    assert not processes.is_alive(ProcessId(os.getpid(), 0.0))


def test_our_modules_run_with_this_interpreter_in_utf_8() -> None:
    command = processes.python_module("hieno", "--version")
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.startswith("hieno ")
