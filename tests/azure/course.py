"""The life of a project on Azure, version after version, through the target's own functions.

Everything is the product's own way and really runs against the emulator: jobs are submitted and
followed, results and versions are sent and fetched, endpoints and deployments come and go, a
gateway asks them. Three things stand in for what would cost minutes: the wheel of a job holds a
stage that copies its input to its result; a registration is written without MLflow; a container
answers without a model (`tests/stand_in.py`).
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emulator.cloud import Cloud
from emulator.trace import Exchange
from hieno.files import read_manifest
from hieno.project import Project, open_project
from hieno.registry import versions
from hieno.registry.versions import ModelVersion
from hieno.reporting import Reporter
from hieno.stages import StagePlan, publish
from hieno.targets.azure import jobs, serving, wheel
from hieno.targets.azure.target import AzureTarget
from hieno.targets.local import LocalTarget
from standing import Told, make_package, stand_ins

JOB = Path(__file__).with_name("stand_in_job.py")


PROJECT = """
name: books
model: demo
target: azure
package: {engine: transformers}
azure:
  preset: cpu
  cluster: {size: Standard_E4s_v3, low_priority: true, idle_minutes: 1}
endpoint: {name: books, steps: [50, 100]}
"""


@dataclass
class Course:
    """A project whose versions come in one after the other; each command opens it anew."""

    root: Path
    cloud: Cloud
    said: list[str] = field(default_factory=list)
    number: int = 0  # of the newest package

    @classmethod
    def begin(cls, root: Path, cloud: Cloud) -> Course:
        """Write the project down."""
        root.mkdir(parents=True)
        (root / "hieno.yaml").write_text(PROJECT, encoding="utf-8")
        return cls(root, cloud)

    @property
    def project(self) -> Project:
        return open_project(self.root)

    @property
    def target(self) -> AzureTarget:
        """The target as the next command finds it."""
        return AzureTarget(self.project)

    def train(self) -> None:
        """Make something as a job that waits until its machine is taken away."""
        self._submit(self.plan("train"))

    def package(self) -> None:
        """Make the newest package as a job, unless somebody has."""
        self._submit(self.plan())

    def register(self) -> None:
        """Register the newest package, unless somebody has."""
        self._submit(self.registration())
        assert self.version().lineage["package"]["key"] == self.plan().key

    def deploy(self) -> None:
        """Serve the last version, unless it serves already."""
        target, version = self.target, self.version()
        if target.serving(version) is None:
            target.deploy(version, base=self.root, say=self.said.append)
        assert target.serving(version) is not None

    def show(self) -> None:
        """Do what changes nothing but a key: look, read, renew."""
        found = self.target.endpoint()
        assert found is not None
        before = self.target.keys()
        assert self.target.regenerate("primary").secondary == before.secondary
        self.target.logs(next(iter(found.traffic)), lines=3)

    def down(self) -> None:
        """End what is billed by the hour."""
        self.target.down()
        assert self.target.endpoint() is None

    def version(self) -> ModelVersion:
        """Return the version that was registered last."""
        found = versions.champion(self.project.registry)
        assert found is not None
        return found

    def plan(self, stage: str = "package") -> StagePlan:
        """Plan a job that hands over a package of a few bytes."""
        project, number = self.project, self.number
        key = f"{number:011}{'f' if stage == 'train' else '0'}".ljust(64, "0")
        made = project.state / "made" / key[:12]
        manifest = make_package(made, key, number)
        return StagePlan(
            stage=stage,
            key=key,
            output=str(project.packages / key[:12]),
            work=str(project.packages / f"{key[:12]}.work"),
            inputs={"run": str(made)},
            digests={"run": manifest.digest},
            settings={"package": {"engine": "auto"}, "name": "books"},
        )

    def registration(self) -> StagePlan:
        project, planned = self.project, self.plan()
        folder = project.registry / "registrations" / planned.key[:12]
        return StagePlan(
            stage="register",
            key=planned.key,
            output=str(folder),
            work=f"{folder}.work",
            inputs={"package": planned.output},
        )

    def jobs(self) -> Mapping[str, int]:
        """Return how many jobs completed for each package."""
        done = [run for run in self.cloud.ml.runs.all() if run.status == "Completed"]
        return Counter(run.id.rpartition("-")[0] for run in done)

    def active(self) -> list[str]:
        ended = ("Completed", "Failed", "Canceled")
        return [run.id for run in self.cloud.ml.runs.all() if run.status not in ended]

    def registered(self) -> list[int]:
        """Return the numbers of the versions here."""
        return [one.version for one in versions.versions(self.project.registry)]

    def models(self) -> list[int]:
        """Return the numbers of the versions in the workspace."""
        kind = "Microsoft.MachineLearningServices/workspaces/models/versions"
        return sorted(int(one.id.name) for one in self.cloud.resources.of_type(kind))

    def deployments(self) -> list[str]:
        """Return what is billed for serving, by the hour."""
        running = self.cloud.ledger.by_the_hour()
        return [one.resource for one in running if "/deployments/" in one.resource]

    def _submit(self, planned: StagePlan) -> None:
        """Have a stage done unless it is, as the pipeline does."""
        target, told = self.target, Told()
        if not _stands(target, planned):
            target.submit(planned, told)
        self.said += told.lines
        assert _stands(target, planned)


def _stands(target: AzureTarget, planned: StagePlan) -> bool:
    manifest = read_manifest(Path(planned.output))
    return (manifest is not None and manifest.key == planned.key) or target.find(planned)


@contextmanager
def quick() -> Iterator[None]:
    """Let jobs and containers be stand-ins, and look at them without long pauses."""
    submit = LocalTarget.submit

    def submitted(self: LocalTarget, plan: StagePlan, reporter: Reporter) -> None:
        if plan.stage == "register":
            _register(self.project, plan)
        else:
            submit(self, plan, reporter)

    with stand_ins("--sound"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(wheel, "write", _wheel)
        patch.setattr(LocalTarget, "submit", submitted)
        patch.setattr(jobs, "POLL", (0.1, 0.5))
        patch.setattr(serving, "LOOK_SECONDS", 0.2)
        yield


def recorded(cloud: Cloud, command: Callable[[], None]) -> Mapping[str, int]:
    """Return each kind of call of a command, as a fault's `at` names it, and how often it came."""
    before = len(cloud.trace.exchanges)
    command()
    return Counter(_at(one) for one in cloud.trace.exchanges[before:])


def _at(one: Exchange) -> str:
    path = one.path
    for pattern, word in (
        (r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", "*"),  # an operation
        (r"(?<=/)package-[0-9a-f]+-\d+", "package-*"),
        (r"(?<=/versions/)[^/]+", "*"),
        (r"(?<=/deployments/)[^/]+", "*"),
        (r"(?<=/content/)[0-9a-f]+", "*"),
        (r"(?<=/made/)[0-9a-f]+", "*"),
        (r"(?<=/images/)[^/]+", "*"),
        (r"(?<=/packages/)[0-9a-f]+", "*"),
        (r"(?<=/registrations/)[0-9a-f]+", "*"),
        (r"(?<=dcid\.package-)[0-9a-f]+-\d+", "*"),
    ):
        path = re.sub(pattern, word, path)
    return f"{one.method}:{one.host}{path}"


def _register(project: Project, plan: StagePlan) -> None:
    folder = Path(plan.inputs["package"])
    manifest = read_manifest(folder)
    assert manifest is not None
    digest = {"digest": plan.key[:16]}
    lineage = {
        "package": {"key": plan.key, "digest": manifest.digest},
        **{role: digest for role in ("run", "dataset", "base", "evaluation")},
        "gate": {"passed": True, "reasons": [], "waiver": None},
    }
    made = versions.add(
        project.registry,
        name=project.config.name,
        package=folder,
        digest=manifest.digest,
        lineage=lineage,
    )
    versions.set_alias(project.registry, "champion", made.version)
    with publish(plan, "registration") as (_, facts):
        facts.update(version=made.version, alias="champion")


def _wheel(folder: Path) -> Path:
    path = folder / "hieno-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for name in ("hieno", "hieno/targets", "hieno/targets/azure"):
            packed.writestr(zipfile.ZipInfo(f"{name}/__init__.py"), "")
        # a fixed date: the same content is the same wheel
        packed.writestr(zipfile.ZipInfo("hieno/targets/azure/job.py"), JOB.read_bytes())
    return path
