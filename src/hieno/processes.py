"""Processes beside this one: run them to their end, or start them, know them again, end them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

if sys.platform == "win32":
    _DETACHED = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
else:
    _DETACHED = 0


# Kept until they end: a forgotten child would stay a zombie, and Python would warn about it.
_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class ProcessId:
    """A process and when it was started, so that a reused id is never mistaken for it."""

    pid: int
    started: float


def run_to_end(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path | str | None = None,
    text: str = "",
    seconds: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command that reads `text` and shows nothing; return its exit code and all it said.

    Raises `subprocess.TimeoutExpired` after `seconds`.
    """
    return subprocess.run(
        command,
        input=text,
        env=environment,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=seconds,
        check=False,
    )


def start_detached(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    secret: str = "",
) -> ProcessId:
    """Start a command that goes on when this one ends; its output goes to `log` (0600).

    It reads `secret` from its standard input, where no process list and no file shows it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            close_fds=True,
            creationflags=_DETACHED,
            start_new_session=True,  # ignored on Windows
        )
    if process.stdin is not None:
        with process.stdin as pipe, suppress(BrokenPipeError):  # it may have ended already
            pipe.write(secret.encode())
    _started[:] = [other for other in _started if other.poll() is None]
    _started.append(process)
    return identify(process.pid)


def identify(pid: int) -> ProcessId:
    """Return the identity of a running process of ours."""
    import psutil

    try:
        return ProcessId(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return ProcessId(pid, 0.0)


def is_alive(process: ProcessId) -> bool:
    """Tell whether exactly this process still runs (a zombie does not)."""
    return _find(process) is not None


def listens(process: ProcessId, port: int) -> bool:
    """Tell whether a process or a child of it is the one that listens on a port."""
    import psutil

    found = _find(process)
    try:
        family = [found, *found.children(recursive=True)] if found is not None else []
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for each in family
            for connection in each.net_connections(kind="tcp")
        )
    except psutil.NoSuchProcess:  # one of them ended while it was looked at
        return False


def stop(process: ProcessId, *, grace: float = 10.0) -> bool:
    """End a process and its children: ask, wait `grace` seconds, then kill.

    Returns False where it was not running any more.
    """
    import psutil

    found = _find(process)
    if found is None:
        return False
    try:
        family = [found, *found.children(recursive=True)]
        found.terminate()
    except psutil.NoSuchProcess:  # it ended between the two lines above
        return False
    psutil.wait_procs([found], timeout=grace)
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=5)
    _started[:] = [other for other in _started if other.poll() is None]
    return True


def allow_many_files(count: int = 65_536) -> None:
    """Raise this process's own bound on open files and connections as far as it may."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules with this interpreter."""
    return [sys.executable, "-X", "utf8", "-m", module, *arguments]


def _find(process: ProcessId):  # type: ignore[no-untyped-def]  # psutil is imported late
    import psutil

    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started) < 1.0
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
