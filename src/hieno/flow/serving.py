"""The server of a flow or an agent project: start it, know it again, stop it.

`pf flow serve` has no authentication and allows every origin, so it listens on loopback only.
Its fastapi engine is used because the page of the flask one does not open in 1.18.5.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import FrameType

from pydantic import SecretStr

from hieno import ports, processes
from hieno.errors import HienoError, TryLater, UsageError
from hieno.files import digest_file, digest_json, read_json, write_json
from hieno.flow import side
from hieno.flow.frameworks import AGENTS, entry
from hieno.flow.scaffold import GENERATED
from hieno.processes import ProcessId

STATE = "serve.json"
LOG = "serve.log"


@dataclass(frozen=True)
class Served:
    """A running flow server; `digest` covers the flow's files, the endpoint and the key."""

    url: str
    port: int
    flow: str
    endpoint: str
    digest: str
    process: ProcessId


def serve(
    folder: Path,
    endpoint: str,
    key: SecretStr,
    *,
    state: Path,
    port: int = 8080,
    page: bool = False,
    say: Callable[[str], None],
) -> int:
    """Serve a flow until Ctrl-C; the server's own lines go to the log in `state`.

    With `page` it is the developer page of an agent project.
    """
    served = start(folder, endpoint, key, state=state, port=port, page=page, say=say)
    say(f"the flow chats at {served.url} (Ctrl-C ends it; log: {state / LOG})")
    with _termination_is_an_interrupt():
        try:
            while processes.is_alive(served.process):
                time.sleep(0.5)
        except KeyboardInterrupt:
            say("the flow's server ends")
            return 0
        finally:
            stop(state)
    raise HienoError(f"the flow's server ended by itself\n{_last_lines(state)}", hint=_hint(state))


def start(
    folder: Path,
    endpoint: str,
    key: SecretStr,
    *,
    state: Path,
    port: int = 8080,
    page: bool = False,
    say: Callable[[str], None],
    timeout: float = 120,
) -> Served:
    """Serve a flow in the background and return once it answers.

    One that already serves the same files, endpoint and key is left as it is; another one of this
    `state` folder is ended first. A port that is taken gives way to the next free one.
    """
    framework, _ = entry(folder)
    if page and framework is not AGENTS:
        raise UsageError(
            f"{folder} is a prompt flow, which has no developer page",
            hint="`hieno flow migrate` makes an agent project of it; `hieno flow serve` has a page",
        )
    digest = _digest(folder, endpoint, key)
    running = status(state)
    if running and running.digest == digest and _answers(running.port):
        return running
    stop(state)
    interpreter = side.python(framework, say)
    for chosen in islice(ports.candidates(port), 3):
        served = _launch(folder, endpoint, key, interpreter, state, chosen, digest, page)
        if _wait(served, timeout):
            return served
        stop(state)
    raise HienoError(f"the flow's server did not start\n{_last_lines(state)}", hint=_hint(state))


def status(state: Path) -> Served | None:
    """Return the flow server that runs, or None."""
    path = state / STATE
    if not path.is_file():
        return None
    known = read_json(path)
    served = Served(**(known | {"process": ProcessId(**known["process"])}))
    return served if processes.is_alive(served.process) else None


def is_current(state: Path, folder: Path, endpoint: str, key: SecretStr) -> bool:
    """Tell whether a server runs with the flow's present files, endpoint and key."""
    running = status(state)
    return running is not None and running.digest == _digest(folder, endpoint, key)


def files(folder: Path) -> dict[str, str]:
    """Return the digest of each of a project's own files, by name."""
    paths = [path for path in sorted(folder.glob("*.*")) if path.is_file()]
    return {path.name: digest_file(path) for path in paths if path.name != GENERATED}


def stop(state: Path) -> bool:
    """End the flow server of a state folder; False where none was running."""
    running = status(state)
    ended = processes.stop(running.process) if running else False
    (state / STATE).unlink(missing_ok=True)
    return ended


def _launch(
    folder: Path,
    endpoint: str,
    key: SecretStr,
    interpreter: Path,
    state: Path,
    port: int,
    digest: str,
    page: bool,
) -> Served:
    (state / LOG).unlink(missing_ok=True)
    process = processes.start_detached(
        _command(folder, interpreter, port, page),
        log=state / LOG,
        environment=side.environment(endpoint, key),
    )
    url = f"http://127.0.0.1:{port}/"
    served = Served(url, port, str(folder.resolve()), endpoint, digest, process)
    write_json(state / STATE, asdict(served), private=True)
    return served


def _command(folder: Path, interpreter: Path, port: int, page: bool) -> list[str]:
    if entry(folder)[0] is AGENTS:
        script = folder.resolve() / ("devui.py" if page else "host.py")
        return side.script(interpreter, script, "--port", str(port))
    return side.command(
        interpreter,
        *("-m", "promptflow._cli.pf", "flow", "serve", "--source", str(folder.resolve())),
        *("--engine", "fastapi", "--host", "127.0.0.1", "--port", str(port)),
        "--skip-open-browser",
    )


def _wait(served: Served, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while processes.is_alive(served.process):
        # Whoever took the port while ours was starting would answer as well.
        if processes.listens(served.process, served.port) and _answers(served.port):
            return True
        if time.monotonic() > deadline:
            raise TryLater(
                f"the flow's server did not answer within {timeout:.0f} seconds",
                hint="the machine may be busy: type the same command again",
            )
        time.sleep(0.1)
    return False


def _answers(port: int) -> bool:
    import httpx

    try:
        reply = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=5)
    except httpx.HTTPError:
        return False
    return reply.status_code == 200


def _digest(folder: Path, endpoint: str, key: SecretStr) -> str:
    return digest_json([files(folder), str(folder.resolve()), endpoint, key.get_secret_value()])


@contextmanager
def _termination_is_an_interrupt() -> Iterator[None]:
    """Let `kill` end a foreground server as Ctrl-C does, so that nothing is left running."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _last_lines(state: Path) -> str:
    log = state / LOG
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return "\n".join(text.strip().splitlines()[-5:])


def _hint(state: Path) -> str:
    return f"the whole log is {state / LOG}; `hieno flow test` checks the flow itself"
