"""An endpoint's two files: what should be (endpoint.json) and what is (observed.json).

The first is written by commands alone, the second by the gateway alone, each in one step, so no
crash leaves half a state and nobody has to be asked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal  # Any: JSON on its way to and from the files

from hieno import files, locks
from hieno.errors import BrokenArtifact, Busy, MissingInput, UsageError
from hieno.processes import ProcessId

DESIRED = "endpoint.json"
OBSERVED = "observed.json"

BASE = "base"  # the untuned model, asked by name only
COLOURS = ("blue", "green")
MOST_MIRRORED = 50  # percent; Azure's bound

State = Literal["starting", "ready", "failed", "stopped", "idle"]

# Over TLS only: a credential goes there.
_ADDRESS = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?")

# Azure's rule for the names of deployments.
_NAME = re.compile(r"(?=.{3,32}\Z)[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*")


@dataclass(frozen=True)
class Limits:
    """Bounds of an endpoint: seconds, bytes, and requests per instance.

    Twice `max_concurrent` requests per instance may be in flight (Azure's rule); one more is
    answered with 429.
    """

    request_timeout: float = 180.0
    max_concurrent: int = 64
    max_body: int = 1_500_000
    start_timeout: float = 600.0
    idle_timeout: float = 600.0
    drain_timeout: float = 10.0


@dataclass(frozen=True)
class DeploymentSpec:
    """What one deployment runs; `{port}` in the command is replaced for each instance.

    With a `url` it is an Azure endpoint instead, or the deployment there of `remote_name`; the
    credential for it is in no file. `only_score`: nothing but `/score` gets through to it.
    """

    version: str
    command: tuple[str, ...]
    root: str = ""
    engine: str = ""
    data_digest: str = ""
    instances: int = 1
    on_demand: bool = False
    memory: int = 0  # bytes that must be free before an on-demand instance starts; 0: unknown
    url: str = ""
    remote_name: str = ""
    only_score: bool = False


@dataclass(frozen=True)
class Page:
    """What the chat page shows and keeps; `feedback` is the file for ratings, empty where off."""

    title: str = ""
    max_new_tokens: int = 1024
    feedback: str = ""


@dataclass(frozen=True)
class Desired:
    """What an endpoint should be; `seed` makes the choice by traffic repeatable.

    `mirror` is the share of the requests of which a deployment gets a copy. `retired` deployments
    are stopped and can be started again, `newest` is the one that was deployed last, and an
    endpoint that is not `settled` is in the middle of a roll-out.
    """

    name: str
    port: int
    traffic: Mapping[str, int] = field(default_factory=dict)
    deployments: Mapping[str, DeploymentSpec] = field(default_factory=dict)
    limits: Limits = Limits()
    revision: int = 1
    seed: int | None = None
    mirror: Mapping[str, int] = field(default_factory=dict)
    retired: Mapping[str, DeploymentSpec] = field(default_factory=dict)
    newest: str = ""
    settled: bool = True
    page: Page = Page()

    def live(self) -> str | None:
        """Return the deployment with the largest share of the traffic."""
        shares = {name: share for name, share in self.traffic.items() if share > 0}
        return max(shares, key=lambda name: shares[name], default=None)

    def coloured(self) -> dict[str, DeploymentSpec]:
        """Return the deployments between which the traffic is divided."""
        return {name: one for name, one in self.deployments.items() if name in COLOURS}

    def is_held(self) -> bool:
        """Tell whether somebody has given the traffic to others than the newest deployment."""
        by_hand = self.settled and self.newest in {**self.retired, **self.deployments}
        return by_hand and self.live() is not None and self.traffic.get(self.newest) != 100


@dataclass(frozen=True)
class InstanceStatus:
    """One running container, or one that is about to be."""

    state: State
    port: int
    process: ProcessId | None


@dataclass(frozen=True)
class DeploymentStatus:
    """A deployment as the gateway sees it; `error` is the last line of a container that ended.

    `doing` is what Azure is at work on with it: one that is ready goes on answering meanwhile.
    """

    version: str
    state: State
    instances: tuple[InstanceStatus, ...] = ()
    restarts: int = 0
    error: str = ""
    doing: str = ""


@dataclass(frozen=True)
class Observed:
    """What the gateway last said; `processes` are all that must be gone after it."""

    gateway: ProcessId
    port: int
    revision: int
    deployments: Mapping[str, DeploymentStatus]
    processes: tuple[ProcessId, ...] = ()
    problem: str = ""


def read_desired(folder: Path) -> Desired | None:
    """Return what the endpoint in a folder should be, or None where there is none."""
    raw = _read(folder / DESIRED)
    if raw is None:
        return None
    with _shape_of(folder / DESIRED):
        specs, retired = _specs(raw["deployments"]), _specs(raw.get("retired", {}))
        limits, page = Limits(**raw["limits"]), Page(**raw.get("page", {}))
        fields = {**raw, "deployments": specs, "retired": retired, "limits": limits, "page": page}
        return check(Desired(**fields))


def write_desired(folder: Path, desired: Desired) -> None:
    """Say what the endpoint should be; raises `UsageError` where that makes no sense."""
    files.write_json(folder / DESIRED, asdict(check(desired)))


def read_observed(folder: Path) -> Observed | None:
    """Return what the gateway last wrote, or None where it never ran."""
    raw = _read(folder / OBSERVED)
    if raw is None:
        return None
    with _shape_of(folder / OBSERVED):
        return Observed(
            gateway=ProcessId(**raw["gateway"]),
            port=raw["port"],
            revision=raw["revision"],
            deployments={name: _deployment(one) for name, one in raw["deployments"].items()},
            processes=tuple(ProcessId(**one) for one in raw["processes"]),
            problem=raw["problem"],
        )


def write_observed(folder: Path, observed: Observed) -> None:
    """Say what the endpoint is; only the gateway does."""
    files.write_json(folder / OBSERVED, asdict(observed))


def check(desired: Desired) -> Desired:
    """Return what makes sense; raise `UsageError` with the first thing that does not."""
    for problem in _problems(desired):
        raise UsageError(
            f"endpoint {desired.name}: {problem}", hint="correct it, then deploy again"
        )
    return desired


def mirror_problems(
    mirror: Mapping[str, int], traffic: Mapping[str, int], deployed: Collection[str]
) -> Iterator[str]:
    """Say what makes no sense of a mirror; Azure's bounds are everybody's."""
    if len(mirror) > 1:
        yield f"the mirror names {' and '.join(mirror)}; one deployment is possible"
    for name, share in mirror.items():
        if name not in deployed:
            yield f"the mirror copies to {name}, which is not deployed"
        if not 1 <= share <= MOST_MIRRORED:
            yield f"the mirror of {name} is {share}; 1 to {MOST_MIRRORED} percent are possible"
        if traffic.get(name):
            yield f"{name} has traffic of its own; the mirror is for a deployment without any"


def missing(folder: Path) -> MissingInput:
    """Return the error that nothing was deployed."""
    return MissingInput(f"there is no endpoint in {folder}", hint="`hieno deploy` makes one")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and let nobody else change the endpoint. Raises `Busy`."""
    taken = f"another command is changing the endpoint {folder.name}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locks.alone(folder / "lock", lambda: Busy(taken, hint=locks.WAIT)):
        yield


def log_path(folder: Path, deployment: str) -> Path:
    """Return the file that takes what the containers of a deployment print."""
    return folder / f"{deployment}.log"


def last_lines(path: Path, count: int, *, start: int = 0) -> list[str]:
    """Return up to `count` last lines with text of a log, none from before byte `start`."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(start, size - 4096 * max(count, 1)))
            text = log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:] if count > 0 else []


def _specs(raw: Mapping[str, Any]) -> dict[str, DeploymentSpec]:
    return {
        name: DeploymentSpec(**{**spec, "command": tuple(spec["command"])})
        for name, spec in raw.items()
    }


def _problems(desired: Desired) -> Iterator[str]:
    for name, spec in desired.deployments.items():
        if not _NAME.match(name):
            yield f"{name!r} is no name of a deployment (3-32 letters, digits and single dashes)"
        if not 1 <= spec.instances <= 50:
            yield f"{name} has {spec.instances} instances; 1 to 50 are possible"
        if spec.url and not _ADDRESS.fullmatch(spec.url):
            yield f"{name} is at {spec.url!r}; an address is https://HOST, without a path"
    for name, share in desired.traffic.items():
        if name not in desired.deployments:
            yield f"traffic goes to {name}, which is not deployed"
        if not 0 <= share <= 100:
            yield f"the traffic of {name} is {share}; it is a share of 0 to 100"
    if sum(desired.traffic.values()) not in (0, 100):
        yield f"the traffic adds up to {sum(desired.traffic.values())}, not to 0 or 100"
    yield from mirror_problems(desired.mirror, desired.traffic, desired.deployments)


def _read(path: Path) -> Any:
    try:
        return files.read_json(path)
    except FileNotFoundError:
        return None


def _deployment(raw: Mapping[str, Any]) -> DeploymentStatus:
    instances = tuple(
        InstanceStatus(
            state=one["state"],
            port=one["port"],
            process=ProcessId(**one["process"]) if one["process"] else None,
        )
        for one in raw["instances"]
    )
    return DeploymentStatus(**{**raw, "instances": instances})


@contextmanager
def _shape_of(path: Path) -> Iterator[None]:
    """Turn a missing or unknown field into `BrokenArtifact` that names the file."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise BrokenArtifact(
            f"{path} is not in the form that this version writes",
            hint=f"delete {path}, then deploy again",
        ) from error
