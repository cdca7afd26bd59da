"""What the commands do with an endpoint: deploy, status, keys, down; `shares` moves its traffic.

Every function takes the endpoint's folder, whose name is the endpoint's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any  # JSON for `--json`

from pydantic import SecretStr

from hieno import ports, processes
from hieno.endpoint import credentials, lifetime, rollout, state
from hieno.endpoint.credentials import Keys, Which
from hieno.endpoint.examination import Question
from hieno.endpoint.state import (
    BASE,
    COLOURS,
    DeploymentSpec,
    DeploymentStatus,
    Desired,
    Limits,
    Page,
    read_desired,
    read_observed,
)
from hieno.endpoint.watch import Guard
from hieno.errors import Busy


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
    mirror: Mapping[str, int] = field(default_factory=dict)
    retired: Mapping[str, str] = field(default_factory=dict)  # versions that can be started again

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
    page: Page | None = None,
    guard: Guard | None = None,
    questions: Sequence[Question] = (),
) -> EndpointStatus:
    """Put a deployment behind the endpoint, move the traffic to it, and retire the one before.

    The first deployment makes the endpoint, on `port` or the next free one. The new one gets
    traffic only when it is ready and has answered, within `wait` seconds, and then in the steps
    of `guard`; where one of them fails, everything stays as it was and `HienoError` is raised.
    The same specification as the one that serves is not deployed twice. `base` answers only those
    who name it. Raises `Busy` while another command changes this endpoint.
    """
    guard = guard or Guard()
    with state.locked(folder):
        before = rollout.settled(folder)
        bounds, shown = limits or Limits(), page or Page()
        extra = {} if base is None else {BASE: replace(base, on_demand=True)}
        live = before.live() if before else None
        if before and live and before.deployments[live] == spec:
            serving = {**before.coloured(), **extra}
            wanted = replace(before, deployments=serving, limits=bounds, page=shown)
            rollout.keep(folder, wanted, wait=wait)
            say(f"{live} serves version {spec.version}: nothing to do")
        else:
            name = next(colour for colour in COLOURS if colour != live)
            goes_on = {live: before.deployments[live]} if before and live else {}
            share = guard.steps[-1] if live else 100
            wanted = Desired(
                name=folder.name,
                port=before.port if before else port,
                traffic={name: 100} if share == 100 else {str(live): 100 - share, name: share},
                deployments={name: spec, **extra, **(goes_on if share < 100 else {})},
                limits=bounds,
                page=shown,
                seed=before.seed if before else None,
                retired=goes_on if share == 100 else {},
                newest=name,
            )
            credentials.create(folder)
            switch = partial(
                rollout.switch,
                folder,
                before,
                new=name,
                wait=wait,
                say=say,
                guard=guard,
                questions=questions,
            )
            _with_a_port(switch, wanted, new=before is None)
    return existing(folder)


def front(
    folder: Path,
    specs: Mapping[str, DeploymentSpec],
    credential: SecretStr,
    *,
    port: int,
    wait: float = 60.0,
    limits: Limits | None = None,
    page: Page | None = None,
    renewed: bool = True,
) -> EndpointStatus:
    """Put a gateway before an Azure endpoint, whose deployments are `specs`; all have a `url`.

    The first one gets the traffic and the others answer who names them: how traffic is divided
    is decided there. The credential is in the gateway's memory and nowhere else, so this is called
    again after a restart of the machine, and with each new credential; where it is not `renewed`, a
    gateway that runs goes on. Raises `UsageError` for an address without TLS, and `HienoError`
    where the endpoint cannot be reached.
    """
    with state.locked(folder):
        before = read_desired(folder)
        first = next(iter(specs))
        wanted = Desired(
            name=folder.name,
            port=before.port if before else port,
            traffic={first: 100},
            deployments=dict(specs),
            limits=limits or Limits(),
            newest=first,
            page=page or Page(),
        )
        state.check(wanted)
        credentials.create(folder)
        if renewed:
            lifetime.stop(folder)  # a running one has another credential
        keep = partial(rollout.keep, folder, wait=wait, credential=credential)
        _with_a_port(keep, wanted, new=before is None)
    return existing(folder)


def ensure_running(
    folder: Path, *, wait: float = 600.0, page: Page | None = None
) -> EndpointStatus:
    """Start the gateway again as it was, after a reboot or `down`; return when it can answer.

    `page` is what the chat page shall be from now on, where that has changed.
    """
    if read_desired(folder) is None:
        raise state.missing(folder)
    with state.locked(folder):
        before = rollout.settled(folder)
        if before is None:
            raise state.missing(folder)
        rollout.keep(folder, replace(before, page=page or before.page), wait=wait)
    return existing(folder)


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
        mirror=dict(desired.mirror),
        retired={name: spec.version for name, spec in desired.retired.items()},
    )


def existing(folder: Path) -> EndpointStatus:
    """Return what the endpoint is; raises `MissingInput` where nothing was deployed."""
    found = status(folder)
    if found is None:
        raise state.missing(folder)
    return found


def keys(folder: Path) -> Keys:
    """Return both keys of the endpoint; `MissingInput` where nothing was deployed."""
    return credentials.read(folder)


def regenerate(folder: Path, which: Which) -> Keys:
    """Replace one of the two keys; the other goes on serving, the old one is refused at once."""
    with state.locked(folder):
        return credentials.regenerate(folder, which)


def down(folder: Path) -> list[str]:
    """Stop the gateway and its containers, and nothing else; return what was stopped.

    Keys, port and deployments stay written down, so that `ensure_running` and the next
    deployment find them.
    """
    with state.locked(folder):
        return lifetime.stop(folder)


def _with_a_port(act: Callable[[Desired], None], wanted: Desired, *, new: bool) -> None:
    """Do what starts a gateway; a new one goes on to the next port where one is taken."""
    for port in ports.candidates(wanted.port) if new else [wanted.port]:
        try:
            return act(replace(wanted, port=port))
        except Busy as error:
            taken = error
    raise taken
