"""Runs: what run history and MLflow know of a job, or of work that a client tracks itself."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any  # Any: metrics and errors are JSON

from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.resources import now
from emulator.ml import blobs

if TYPE_CHECKING:
    from emulator.cloud import Cloud

ENDED = ("Completed", "Failed", "Canceled")


@dataclass
class Run:
    """One run. `logs` are the names of its log files among its artifacts."""

    id: str
    workspace: ResourceId
    experiment: str
    name: str = ""
    status: str = "NotStarted"
    started: str = ""
    ended: str = ""
    created_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    ended_ms: int | None = None
    error: dict[str, str] | None = None
    attempts: int = 0
    tracked: bool = False  # begun by a client of MLflow, not by a job
    logs: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def become(self, status: str) -> None:
        """Go on to a status."""
        self.status = status
        if status == "Running" and not self.started:
            self.started = now()
        if status in ENDED:
            self.ended, self.ended_ms = now(), int(time.time() * 1000)
            self.over.set()

    def fail(self, code: str, message: str) -> None:
        """End with an error."""
        self.error = {"code": code, "message": message}
        self.become("Failed")


class Runs:
    """The runs of all workspaces, by workspace and id."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._runs: dict[tuple[str, str], Run] = {}
        self._experiments: dict[tuple[str, str], str] = {}
        self.lock = threading.RLock()

    def begin(self, workspace: ResourceId, experiment: str, id: str = "", name: str = "") -> Run:
        """Make a run in an experiment."""
        with self.lock:
            run = Run(id or str(uuid.uuid4()), workspace, experiment)
            run.name = name or run.id
            self.experiment_id(workspace, experiment)
            self._runs[workspace.key, run.id] = run
            return run

    def require(self, workspace: ResourceId, id: str) -> Run:
        """Return a run. Raises 404."""
        found = self._runs.get((workspace.key, id))
        if found is None:
            raise ArmError(404, "UserError", f"Run {id} was not found.")
        return found

    def all(self) -> list[Run]:
        """Return all runs."""
        with self.lock:
            return list(self._runs.values())

    def of(self, workspace: ResourceId) -> list[Run]:
        """Return a workspace's runs, the eldest first."""
        with self.lock:
            return [run for (key, _), run in self._runs.items() if key == workspace.key]

    def experiment_id(self, workspace: ResourceId, name: str) -> str:
        """Return an experiment's id; it is made where there is none of this name."""
        made = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{workspace.key}/experiments/{name}"))
        return self._experiments.setdefault((workspace.key, name), made)

    def experiments(self, workspace: ResourceId) -> dict[str, str]:
        """Return a workspace's experiments: id by name."""
        with self.lock:
            found = self._experiments.items()
            return {name: id for (key, name), id in found if key == workspace.key}

    def artifacts(self, run: Run) -> blobs.Place:
        """Return where a run's artifacts are."""
        return blobs.run_artifacts(self._cloud, run.workspace, run.id)
