"""Azure Machine Learning as a target: heavy stages as jobs, and an online endpoint.

Data is prepared here, and small results come down; weights stay in the workspace's storage.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any  # a status is JSON

from hieno.endpoint import control
from hieno.endpoint import logs as written
from hieno.endpoint.control import EndpointStatus
from hieno.endpoint.credentials import Keys, Which
from hieno.endpoint.examination import Question
from hieno.endpoint.watch import Guard
from hieno.errors import HienoError, MissingInput, Unreachable, UsageError
from hieno.files import Manifest, read_manifest
from hieno.project import Project
from hieno.registry import versions
from hieno.registry.versions import ModelVersion
from hieno.reporting import Reporter
from hieno.stages import StagePlan
from hieno.targets import Address
from hieno.targets.azure import (
    assets,
    front,
    idleness,
    images,
    jobs,
    registry,
    scaling,
    script,
    serving,
)
from hieno.targets.azure.client import Workspace, open_workspace
from hieno.targets.azure.failures import explained
from hieno.targets.azure.rollout import Rollout
from hieno.targets.azure.serving import Seen
from hieno.targets.azure.site import opened
from hieno.targets.azure.specification import Spec, specify
from hieno.targets.local import LocalTarget

JOBS = ("train", "package", "evaluate")
IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"


class AzureTarget:
    """Run a project's heavy stages and serve its model in its Azure ML workspace."""

    serves_base = False  # an instance of its own would be billed for it

    def __init__(self, project: Project) -> None:
        self.project = project
        self._opened: Workspace | None = None

    def submit(self, plan: StagePlan, reporter: Reporter) -> None:
        """Run a stage as a job, or here where it is a light one, and bring its result here."""
        if plan.stage == "register":
            return self._register(plan, reporter)
        if plan.stage == "estimate":
            raise UsageError(
                "an estimate is measured on this machine, and training runs on Azure",
                hint="`hieno azure plan` says what it costs; `--set target=local` measures here",
            )
        if plan.stage not in JOBS:
            return LocalTarget(self.project).submit(plan, reporter)
        workspace = self._made(reporter.say)
        with explained("naming the base model"):
            assets.name_base(plan, self.project.config, workspace.store)
        log = self.project.state / "logs" / f"{plan.stage}.log"
        suited = self._suited(plan)
        jobs.run(suited, self.project.config, workspace, reporter, log)
        if not self.find(plan):
            raise jobs.gone(plan.stage)

    def base(self) -> Manifest | None:
        """Return the base model that the last job was given, for those who do not have it here."""
        workspace = self._workspace()
        if workspace is None:
            return None
        with explained("looking for the base model"):
            return assets.find_base(self.project.config, workspace.store)

    def find(self, plan: StagePlan) -> bool:
        """Bring the result of a stage here that somebody has made already."""
        workspace = self._workspace()
        if workspace is None or plan.stage == "estimate":
            return False
        with explained(f"looking for the result of {plan.stage}"):
            found = assets.fetch(plan, workspace.store)
        if found and plan.stage == "register":
            registry.refresh(self.project, workspace)
        return found

    def pull(self, version: ModelVersion) -> Path:
        """Fetch a version's package with its weights."""
        return registry.pull(self._needed(), version)

    def deploy(
        self,
        version: ModelVersion,
        *,
        base: Path,
        say: Callable[[str], None],
        questions: Sequence[Question] = (),
    ) -> None:
        """Serve a version at the endpoint; what served before goes on until it is proven."""
        del base  # the untuned model is not served there
        workspace = self._made(say)
        registry.publish(self.project, workspace, version.version, _Saying(say))
        seen = self._seen(workspace)
        if seen is None:
            say(f"making the endpoint {workspace.names.endpoint}")
            with explained("making the endpoint"):
                serving.create_endpoint(workspace, self._identity(workspace))
        if seen and seen.is_held(version.version):
            say("the traffic stays as it was set by hand; `hieno traffic` shows it")
        else:
            spec = self._spec(workspace, version, say)
            try:
                self._rollout(workspace, say, questions).deploy(spec)
            except HienoError:
                self._keep_rules(workspace, say)
                raise
        scaling.ensure(workspace, self.project.config)
        self._place(workspace)

    def serving(self, version: ModelVersion) -> Mapping[str, Any] | None:
        """Return the endpoint's status if this version was deployed last, as it should be."""
        workspace = self._workspace()
        seen = self._seen(workspace) if workspace else None
        if workspace is None or seen is None or (live := seen.live()) is None:
            return None
        with explained("reading the keys"):
            if front.is_stale(self.project, serving.keys(workspace)):
                return None  # so that `up` hands the gateway the new one
        if not scaling.are_current(workspace, self.project.config, seen):
            return None  # so that `up` sets the rules
        shown = seen.status(workspace.names.endpoint).as_json()
        if seen.is_held(version.version):
            return shown
        config, deployed = self.project.config, seen.deployments[live]
        code = script.name_of(workspace) if self._scripted() else ""
        image = images.name_of_deployment(config.azure.endpoint)
        spec = specify(config, version, image, code)
        settled = seen.is_settled() and deployed.state == "ready"
        return shown if settled and deployed.spec == spec.digest else None

    def address(self) -> Address:
        """Return where the gateway before the endpoint answers; it must be running."""
        status = control.status(self.project.endpoint)
        if status is None:
            raise self._missing()
        if not status.alive:
            raise Unreachable(
                "the gateway before the endpoint is stopped", hint="`hieno up` starts it again"
            )
        return Address(status.url, control.keys(self.project.endpoint).primary)

    def connect(self) -> Address:
        """Start the gateway before the endpoint where it does not run, and return its address."""
        try:
            return self.address()
        except (MissingInput, Unreachable):
            self._place(self._needed())
            return self.address()

    def endpoint(self) -> EndpointStatus | None:
        """Return the endpoint as it is in the workspace."""
        workspace = self._workspace()
        seen = self._seen(workspace) if workspace else None
        return seen.status(workspace.names.endpoint) if workspace and seen else None

    def traffic(
        self, shares: Mapping[str, int], *, mirror: Mapping[str, int], say: Callable[[str], None]
    ) -> EndpointStatus:
        """Divide the traffic by hand."""
        workspace = self._needed()
        seen = self._place(workspace)
        self._rollout(workspace, say).move(seen, shares, mirror)
        scaling.ensure(workspace, self.project.config)
        return self._place(workspace).status(workspace.names.endpoint)

    def rollback(self, *, say: Callable[[str], None]) -> EndpointStatus:
        """Go back to the version before; where it was removed it starts anew, in minutes."""
        workspace = self._needed()
        self._place(workspace)
        self._rollout(workspace, say).rollback()
        scaling.ensure(workspace, self.project.config)
        return self._place(workspace).status(workspace.names.endpoint)

    def keys(self) -> Keys:
        """Return the endpoint's keys, fetched from Azure."""
        workspace = self._needed()
        with explained("reading the keys"):
            return serving.keys(workspace)

    def regenerate(self, which: Which) -> Keys:
        """Replace one of the endpoint's keys; the gateway here learns the new one."""
        workspace = self._needed()
        with explained("renewing the key"):
            renewed = serving.regenerate(workspace, which)
        self._place(workspace)
        return renewed

    def logs(self, name: str, *, lines: int) -> list[str]:
        """Return the last lines of a deployment's container, a stage's job, or the gateway."""
        kept = self.project.state / "logs" / f"{name}.log"
        if name in JOBS and kept.is_file():
            return kept.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        workspace = self._workspace() if name != "gateway" else None
        seen = self._seen(workspace) if workspace else None
        if workspace and seen and name in seen.deployments:
            with explained(f"reading the log of {name}"):
                return serving.logs(workspace, name, lines)
        return written.last(self.project.endpoint, name, lines=lines)

    def follow(self, name: str, *, lines: int) -> Iterator[str]:
        """Follow the gateway's log; Azure hands out no others as they come."""
        if name != "gateway":
            raise UsageError(
                f"the log of {name} cannot be followed",
                hint=f"`hieno logs {name}` shows its last lines",
            )
        return written.follow(self.project.endpoint, name, lines=lines)

    def down(self) -> list[str]:
        """End what is billed by the hour: endpoint and jobs; the cluster empties itself."""
        stopped = front.remove(self.project)
        workspace = self._workspace()
        if workspace is None:
            return stopped
        stopped += jobs.cancel(workspace)
        if (seen := self._seen(workspace)) is not None:
            with explained("removing the endpoint"):
                scaling.remove(workspace, seen)
                serving.delete_endpoint(workspace)
            stopped.append(f"endpoint {workspace.names.endpoint}")
        return stopped

    def down_idle(self, *, say: Callable[[str], None]) -> list[str]:
        """Remove the endpoint if nobody was answered for azure.endpoint.idle_hours."""
        idleness.require_hours(self.project.config)
        with opened(self.project) as site:
            removed = idleness.remove_idle(site, say)
        return [*front.remove(self.project), *removed] if removed else []

    def _register(self, plan: StagePlan, reporter: Reporter) -> None:
        workspace = self._made(reporter.say)
        registry.refresh(self.project, workspace)
        LocalTarget(self.project).submit(plan, reporter)
        manifest = read_manifest(Path(plan.output))
        try:
            number = manifest.facts["version"] if manifest else 0
            registry.publish(self.project, workspace, number, reporter)
            with explained("keeping the registration"):
                assets.publish(Path(plan.output), workspace.store)
        except BaseException:  # so that the same command does it again
            shutil.rmtree(plan.output, ignore_errors=True)
            raise

    def _suited(self, plan: StagePlan) -> StagePlan:
        """Return a plan that makes what the endpoint's machines serve, not this machine."""
        if plan.stage != "package" or plan.settings["package"]["engine"] != "auto":
            return plan
        azure = self.project.config.azure
        both = images.has_gpu(azure.endpoint.size) and images.has_gpu(azure.cluster.size)
        package = {**plan.settings["package"], "engine": "vllm" if both else "openvino"}
        return replace(plan, settings={**plan.settings, "package": package})

    def _spec(
        self, workspace: Workspace, version: ModelVersion, say: Callable[[str], None]
    ) -> Spec:
        """Return how a version is served, with its image made where it is not there."""
        config = self.project.config
        image = images.of_deployment(workspace, config.azure.endpoint, say)
        return specify(
            config, version, image, script.publish(workspace) if self._scripted() else ""
        )

    def _keep_rules(self, workspace: Workspace, say: Callable[[str], None]) -> None:
        """Set the rules of what serves after a roll-out that failed, whose error is told."""
        try:
            scaling.ensure(workspace, self.project.config)
        except HienoError as error:
            say(f"{error.message}: the next `hieno up` sees to it")

    def _scripted(self) -> bool:
        return self.project.config.azure.endpoint.serving == "script"

    def _rollout(
        self,
        workspace: Workspace,
        say: Callable[[str], None],
        questions: Sequence[Question] = (),
    ) -> Rollout:
        endpoint = self.project.config.endpoint

        def spec_of(number: int) -> Spec:
            registry.refresh(self.project, workspace)
            return self._spec(workspace, versions.find(self.project.registry, str(number)), say)

        return Rollout(
            workspace=workspace,
            examiner=_Placed(self, workspace, front.Asking(self.project, questions)),
            guard=Guard(steps=tuple(endpoint.steps)),
            spec_of=spec_of,
            say=say,
            replaces=self.project.config.azure.endpoint.replace,
        )

    def _place(self, workspace: Workspace) -> Seen:
        """Put the gateway before the endpoint as it is now."""
        seen = self._seen(workspace)
        if seen is None:
            raise self._missing()
        with explained("reading the keys"):
            found = serving.keys(workspace)
        front.place(self.project, seen, found)
        return seen

    def _identity(self, workspace: Workspace) -> str:
        brought = self.project.config.azure.bring.identity
        group = f"/subscriptions/{workspace.account.subscription}/resourceGroups/{workspace.group}"
        return brought or f"{group}/providers/{IDENTITIES}/{workspace.names.identity}"

    def _seen(self, workspace: Workspace) -> Seen | None:
        with explained("reading the endpoint"):
            return serving.read(workspace)

    def _workspace(self) -> Workspace | None:
        self._opened = self._opened or open_workspace(self.project)
        return self._opened

    def _needed(self) -> Workspace:
        workspace = self._workspace()
        if workspace is None:
            raise self._missing()
        return workspace

    def _made(self, say: Callable[[str], None]) -> Workspace:
        """Return the workspace, which is made with all it needs where it is not there."""
        workspace = self._workspace()
        if workspace is None:
            from hieno.targets.azure import provisioning

            provisioning.ensure(self.project, say)
            workspace = self._workspace()
        if workspace is None:
            raise HienoError(
                "the workspace was made and cannot be found", hint="`hieno azure status`"
            )
        return workspace

    def _missing(self) -> MissingInput:
        name = self.project.config.endpoint.name
        return MissingInput(f"there is no endpoint '{name}' yet", hint="`hieno up` makes it")


class _Placed:
    """An examiner whose gateway stands before the endpoint as it is at that moment."""

    def __init__(self, target: AzureTarget, workspace: Workspace, asking: front.Asking) -> None:
        self._target, self._workspace, self._asking = target, workspace, asking

    def examine(self, name: str) -> str:
        self._target._place(self._workspace)
        return self._asking.examine(name)

    def ask(self, name: str) -> str:
        return self._asking.ask(name)


class _Saying:
    """A reporter of which only the words are heard."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def stage(self, name: str) -> None: ...

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None: ...
