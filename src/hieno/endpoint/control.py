"""What the commands do with an endpoint: deploy, status, keys, logs, down.

Every function takes the endpoint's folder, whose name is the endpoint's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any  # JSON for `--json`

from hieno import processes
from hieno.endpoint import credentials, rollout, state
from hieno.endpoint.credentials import Keys, Which
from hieno.endpoint.state import (
    DeploymentSpec,
    DeploymentStatus,
    Desired,
    Limits,
    read_desired,
    read_observed,
)
from hieno.errors import Busy, MissingInput

BASE = "base"  # the untuned model, asked by name only
COLOURS = ("blue", "green")


@dataclass(frozen=True)
class EndpointStatus:
    """An endpoint as it is; `alive` tells whether its gateway runs."""

    name: str
    url: str
    score_url: str
    alive: bool
    traffic: Mapping[str, int]
    deployments: Mapping[str, DeploymentStatus]
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)


def deploy(
    folder: Path,
    spec: DeploymentSpec,
    *,
    port: int,
    wait: float,
    say: Callable[[str], None],
    base: DeploymentSpec | None = None,
    limits: Limits | None = None,
) -> EndpointStatus:
    """Put a deployment behind the endpoint, all traffic on it, and retire the one before.

    The first deployment makes the endpoint, on `port` or the next free one. The new one gets
    traffic only when it is ready and has answered a question, within `wait` seconds; where it
    does not, everything stays as it was and `HienoError` is raised. The same specification as
    the one that serves is not deployed twice. `base` answers only those who name it. Raises
    `Busy` while another command changes this endpoint.
    """
    with _locked(folder):
        before = read_desired(folder)
        bounds = limits or Limits()
        extra = {} if base is None else {BASE: replace(base, on_demand=True)}
        live = before.live() if before else None
        if before and live and before.deployments[live] == spec:
            wanted = replace(before, deployments={live: spec, **extra}, limits=bounds)
            rollout.keep(folder, before, wanted, wait=wait)
            say(f"{live} serves version {spec.version}: nothing to do")
        else:
            name = next(colour for colour in COLOURS if colour != live)
            wanted = Desired(
                name=folder.name,
                port=before.port if before else processes.free_port(port),
                traffic={name: 100},
                deployments={name: spec, **extra},
                limits=bounds,
                seed=before.seed if before else None,
            )
            credentials.create(folder)
            rollout.switch(folder, before, wanted, wait=wait, say=say)
    return _existing(folder)


def ensure_running(folder: Path, *, wait: float = 600.0) -> EndpointStatus:
    """Start the gateway again as it was, after a reboot or `down`; return when it can answer."""
    if read_desired(folder) is None:
        raise _missing(folder)
    with _locked(folder):
        desired = read_desired(folder)
        if desired is None:
            raise _missing(folder)
        rollout.keep(folder, desired, desired, wait=wait)
    return _existing(folder)


def status(folder: Path) -> EndpointStatus | None:
    """Return what the endpoint is, or None where nothing was deployed."""
    desired, observed = read_desired(folder), read_observed(folder)
    if desired is None:
        return None
    alive = observed is not None and processes.is_alive(observed.gateway)
    seen = observed.deployments if observed and alive else {}
    url = f"http://127.0.0.1:{desired.port}"
    return EndpointStatus(
        name=desired.name,
        url=url,
        score_url=f"{url}/score",
        alive=alive,
        traffic=dict(desired.traffic),
        deployments={
            name: seen.get(name, DeploymentStatus(spec.version, "stopped"))
            for name, spec in desired.deployments.items()
        },
        problem=observed.problem if observed and alive else "",
    )


def keys(folder: Path) -> Keys:
    """Return both keys of the endpoint; `MissingInput` where nothing was deployed."""
    return credentials.read(folder)


def regenerate(folder: Path, which: Which) -> Keys:
    """Replace one of the two keys; the other goes on serving, the old one is refused at once."""
    with _locked(folder):
        return credentials.regenerate(folder, which)


def logs(folder: Path, deployment: str, *, lines: int = 50) -> list[str]:
    """Return the last lines that a deployment (or `gateway`) has written."""
    known = [*COLOURS, BASE, "gateway"]
    path = state.log_path(folder, deployment)
    if deployment not in known or not path.exists():
        raise MissingInput(
            f"the endpoint {folder.name} has no log of {deployment!r}",
            hint=f"name one of {', '.join(name for name in known if _has_log(folder, name))}",
        )
    return state.last_lines(path, lines)


def down(folder: Path) -> list[str]:
    """Stop the gateway and its containers, and nothing else; return what was stopped.

    Keys, port and deployments stay written down, so that `ensure_running` and the next
    deployment find them.
    """
    with _locked(folder):
        return rollout.stop(folder)


def _existing(folder: Path) -> EndpointStatus:
    found = status(folder)
    if found is None:
        raise _missing(folder)
    return found


def _missing(folder: Path) -> MissingInput:
    return MissingInput(f"there is no endpoint in {folder}", hint="`hieno deploy` makes one")


def _has_log(folder: Path, name: str) -> bool:
    return state.log_path(folder, name).exists()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout:
        raise Busy(
            f"another command is changing the endpoint {folder.name}",
            hint="wait until it ends, then type the same command again",
        ) from None
