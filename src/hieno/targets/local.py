"""This machine: stages as child processes, and an endpoint on loopback.

A stage has a process of its own so that its memory is given back, and so that whatever kills it
leaves the command alive to say so.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, ClassVar  # Any: a status is JSON

from hieno import processes
from hieno.endpoint import control
from hieno.endpoint import logs as written
from hieno.endpoint.control import EndpointStatus
from hieno.endpoint.credentials import Keys, Which
from hieno.endpoint.examination import MOST_TOKENS, Question
from hieno.endpoint.shares import divide, roll_back
from hieno.endpoint.state import (
    BASE,
    COLOURS,
    DeploymentSpec,
    Desired,
    Limits,
    Page,
    read_desired,
)
from hieno.endpoint.watch import Guard
from hieno.errors import (
    DiskFull,
    HienoError,
    Interrupted,
    MissingInput,
    Unreachable,
    UsageError,
    is_disk_full,
)
from hieno.files import Manifest, digest_json, read_manifest, require_here, verify, write_json
from hieno.package.convert import choose_engine
from hieno.package.layout import engine_folder, first_format, weights_folder
from hieno.project import Project
from hieno.registry.versions import ModelVersion
from hieno.reporting import Reporter
from hieno.stages import StagePlan, pass_on, save_plan
from hieno.targets import Address

QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",  # what a stage reads was fetched before it
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "TOKENIZERS_PARALLELISM": "false",
}
BASE_LINEAGE = {"model_version": "base"}
OVERHEAD = 1.3  # of a running model over its weights on the disk
START_SECONDS = 600.0  # a large model may load that long


@dataclass(frozen=True)
class LocalTarget:
    """Run a project's stages here and serve its model on 127.0.0.1."""

    project: Project
    serves_base: ClassVar[bool] = True

    def base(self) -> Manifest | None:
        """Return nothing: what this machine has is in the user's cache."""
        return None

    def find(self, plan: StagePlan) -> bool:
        """Find nothing: what was made here is in its place."""
        return False

    def submit(self, plan: StagePlan, reporter: Reporter) -> None:
        """Run a stage in a child process and pass on what it reports."""
        folder = self.project.state / "logs"
        path, log = folder / f"{plan.stage}.json", folder / f"{plan.stage}.log"
        save_plan(plan, path)
        with log.open("wb") as output, _child(path, output) as process:
            failure = pass_on(process.stdout or (), reporter)
            code = process.wait()
        if failure is not None:
            raise failure
        if code:
            raise _died(plan.stage, code, log)

    def pull(self, version: ModelVersion) -> Path:
        """Return a version's package, which was made here."""
        verify(Path(version.package))
        return Path(version.package)

    def deploy(
        self,
        version: ModelVersion,
        *,
        base: Path,
        say: Callable[[str], None],
        questions: Sequence[Question] = (),
    ) -> None:
        """Serve a version behind the endpoint; the untuned model answers to the name `base`."""
        require_here(Path(version.package))
        self.project.endpoint.mkdir(parents=True, exist_ok=True, mode=0o700)
        for told in (lineage(version), BASE_LINEAGE):
            write_json(self._lineage_file(told), told)
        if _is_held(read_desired(self.project.endpoint), version):
            say("the traffic stays as it was set by hand; `hieno traffic` shows it")
            control.ensure_running(self.project.endpoint, wait=START_SECONDS, page=self._page())
            return
        most = min(MOST_TOKENS, self.project.config.serve.max_new_tokens)
        control.deploy(
            self.project.endpoint,
            self._spec(version),
            port=self.project.config.endpoint.port,
            wait=START_SECONDS,
            say=say,
            base=self._spec_of_base(base),
            limits=self._limits(),
            page=self._page(),
            guard=self._guard(),
            questions=[replace(question, max_tokens=most) for question in questions],
        )

    def serving(self, version: ModelVersion) -> Mapping[str, Any] | None:
        """Return the endpoint's status if its gateway runs and this version was deployed last."""
        status, desired = control.status(self.project.endpoint), read_desired(self.project.endpoint)
        live = desired.live() if desired else None
        if status is None or desired is None or live is None or not status.alive:
            return None
        same = desired.settled and desired.deployments[live] == self._spec(version)
        same = same and desired.limits == self._limits()
        ready = all(
            status.deployments[name].state == "ready"
            for name, share in desired.traffic.items()
            if share
        )
        settled = same or _is_held(desired, version)
        return status.as_json() if ready and settled and desired.page == self._page() else None

    def address(self) -> Address:
        """Return the endpoint's address and its primary key."""
        name = self.project.config.endpoint.name
        status = control.status(self.project.endpoint)
        if status is None:
            raise MissingInput(f"there is no endpoint '{name}' yet", hint="`hieno up` makes it")
        if not status.alive:
            raise Unreachable(
                f"the endpoint '{name}' is stopped", hint="`hieno up` starts it again"
            )
        return Address(status.url, control.keys(self.project.endpoint).primary)

    def connect(self) -> Address:
        """Return the endpoint's address: it is on this machine."""
        return self.address()

    def endpoint(self) -> EndpointStatus | None:
        """Return what the endpoint is."""
        return control.status(self.project.endpoint)

    def traffic(
        self, shares: Mapping[str, int], *, mirror: Mapping[str, int], say: Callable[[str], None]
    ) -> EndpointStatus:
        """Divide the traffic by hand."""
        return divide(self.project.endpoint, shares, mirror=mirror, say=say)

    def rollback(self, *, say: Callable[[str], None]) -> EndpointStatus:
        """Give all traffic to the deployment before."""
        return roll_back(self.project.endpoint, say=say)

    def keys(self) -> Keys:
        """Return both keys of the endpoint."""
        return control.keys(self.project.endpoint)

    def regenerate(self, which: Which) -> Keys:
        """Replace one of the keys."""
        return control.regenerate(self.project.endpoint, which)

    def logs(self, name: str, *, lines: int) -> list[str]:
        """Return the last lines that a deployment, or the gateway, has written."""
        return written.last(self.project.endpoint, name, lines=lines)

    def follow(self, name: str, *, lines: int) -> Iterator[str]:
        """Yield the last lines and then every new one."""
        return written.follow(self.project.endpoint, name, lines=lines)

    def down(self) -> list[str]:
        """Stop the gateway and its containers."""
        return control.down(self.project.endpoint)

    def down_idle(self, *, say: Callable[[str], None]) -> list[str]:
        """Refuse: nothing is billed here."""
        raise UsageError(
            "nothing that runs on this machine is billed",
            hint="`hieno down` stops it; --idle is for `target: azure`",
        )

    def _lineage_file(self, lineage: Mapping[str, str]) -> Path:
        return self.project.endpoint / f"lineage-{digest_json(lineage)[:12]}.json"

    def _limits(self) -> Limits:
        config = self.project.config
        return Limits(
            request_timeout=config.endpoint.request_timeout,
            max_concurrent=config.serve.max_requests,
        )

    def _page(self) -> Page:
        project = self.project
        keeps = project.config.endpoint.feedback
        return Page(
            title=project.config.name,
            max_new_tokens=project.config.serve.max_new_tokens,
            feedback=str(project.feedback) if keeps else "",
        )

    def _guard(self) -> Guard:
        endpoint = self.project.config.endpoint
        return Guard(
            steps=tuple(endpoint.steps),
            step_requests=endpoint.step_requests,
            step_seconds=endpoint.step_seconds,
            max_errors=endpoint.max_errors,
            max_slowdown=endpoint.max_slowdown,
        )

    def _spec(self, version: ModelVersion) -> DeploymentSpec:
        root = Path(version.package)
        told = lineage(version)
        manifest = read_manifest(root)
        engine = manifest.facts["engine"] if manifest else "auto"
        return DeploymentSpec(
            version=str(version.version),
            command=self._command(root, engine, "auto", told, aliases=COLOURS),
            root=str(root),
            engine=engine,
            data_digest=told["data_digest"],
            instances=self.project.config.endpoint.instances,
        )

    def _spec_of_base(self, root: Path) -> DeploymentSpec:
        engine = choose_engine(self.project.config.package.engine)
        weights = first_format(self.project.config.package.weights)
        return DeploymentSpec(
            version="base",
            command=self._command(root, engine, weights, BASE_LINEAGE, aliases=(BASE,)),
            root=str(root),
            engine=engine,
            memory=self._memory(root, engine),
        )

    def _memory(self, root: Path, engine: str) -> int:
        """Estimate the bytes that a model takes: its weights, and its cache when it is full."""
        config = self.project.config
        kind = first_format(config.package.weights)
        folder = engine_folder(root, engine, kind) or weights_folder(root)
        weights = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        return int(weights * OVERHEAD + config.serve.cache_gb * 1e9)

    def _command(
        self,
        root: Path,
        engine: str,
        weights: str,
        lineage: Mapping[str, str],
        *,
        aliases: Sequence[str],
    ) -> tuple[str, ...]:
        path = self._lineage_file(lineage)
        serve = self.project.config.serve
        return (
            *processes.python_module("hieno.serve", str(root)),
            *("--port", "{port}", "--name", self.project.config.name, "--engine", engine),
            *(word for alias in aliases for word in ("--alias", alias)),
            *("--weights", weights),
            *("--lineage", str(path)),
            *("--max-new-tokens", str(serve.max_new_tokens)),
            *("--max-requests", str(serve.max_requests)),
            *("--cache-gb", str(serve.cache_gb)),
        )


def _is_held(desired: Desired | None, version: ModelVersion) -> bool:
    """Tell whether somebody has taken traffic from this version, which was deployed last."""
    if desired is None or not desired.is_held():
        return False
    newest = {**desired.retired, **desired.deployments}[desired.newest]
    return (newest.version, newest.root) == (str(version.version), version.package)


def lineage(version: ModelVersion) -> dict[str, str]:
    return {
        "model_version": f"{version.name}:{version.version}",
        "data_digest": version.lineage["dataset"]["digest"],
    }


@contextmanager
def _child(plan: Path, log: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        processes.python_module("hieno.stages", str(plan)),
        stdin=subprocess.PIPE,  # closed when this process ends, however it ends
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, **QUIET},
        text=True,
        encoding="utf-8",
    )
    try:
        yield process
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; what was done so far is kept",
            hint="type the same command again to go on",
        ) from None
    finally:
        if process.poll() is None:
            _end(process)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def _end(process: subprocess.Popen[str]) -> None:
    if os.name != "nt":
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            pass
        else:
            return
    processes.stop(processes.identify(process.pid), grace=2)
    process.wait()


def _died(stage: str, code: int, log: Path) -> HienoError:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    if code in (-signal.SIGINT, Interrupted.exit_code):
        return Interrupted(f"{stage} was interrupted", hint="type the same command again to go on")
    if is_disk_full(OSError(last)):
        return DiskFull(
            f"no space left on the disk of {log.parent}",
            hint="free some space, then type the same command again",
        )
    if code < 0:
        return HienoError(
            f"{stage} was ended from outside (signal {-code})",
            hint="memory may have run out (`hieno doctor`); the same command goes on from here",
        )
    return HienoError(f"{stage} failed: {last}", hint=f"the whole story is in {log}")
