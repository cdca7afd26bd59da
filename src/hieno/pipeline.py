"""The stages in order: look whether each is current, and make what is not.

    model -> data -> train -> package -> evaluate -> register -> deploy -> flow

A heavy stage is current where its folder is published under the key of its plan. To look costs
milliseconds and imports nothing heavy, so a project that is up to date says so at once.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal  # Any: details are JSON

from hieno import describe, models
from hieno.endpoint.examination import Question
from hieno.errors import BrokenArtifact, GateFailed, MissingInput, TryLater, Unreachable, UsageError
from hieno.evaluate.examples import spread
from hieno.files import read_jsonl, read_manifest, verify
from hieno.flow import conversation
from hieno.flow import stage as flow
from hieno.package.convert import choose_engine, convert_base, is_ready
from hieno.package.layout import first_format
from hieno.plans import Published, plan
from hieno.project import Project, locked
from hieno.registry.versions import aliases, champion
from hieno.registry.waivers import waive
from hieno.reporting import Reporter
from hieno.targets import Target, open_target

ASKED = 3  # held-out questions that a deployment answers before it gets traffic

State = Literal["done", "current", "resumed", "missing"]


@dataclass(frozen=True)
class StageResult:
    """How a stage went or stands: its result in one line, and the details for programs."""

    stage: str
    state: State
    seconds: float
    summary: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Work:
    project: Project
    target: Target
    force: bool = False
    only_looks: bool = False
    published: Published = field(default_factory=Published)


Details = Mapping[str, Any]


@dataclass(frozen=True)
class _Stage:
    """`look` returns the details of a current stage or None; `make` tells if it resumed."""

    look: Callable[[_Work], Details | None]
    make: Callable[[_Work, Reporter], bool]
    describe: Callable[[Details], str]


def run(
    project: Project,
    *,
    until: str = "flow",
    force: bool = False,
    reporter: Reporter,
    on_result: Callable[[StageResult], None] = lambda result: None,
) -> list[StageResult]:
    """Bring a project to the described state up to a stage, doing nothing twice.

    `on_result` is told of each stage as it ends. What an interrupted call had begun is resumed.
    Raises `GateFailed` after a registration that may not serve; `force` lets it serve all the
    same, which its lineage keeps.
    """
    if until not in STAGES:
        raise UsageError(f"there is no stage {until!r}", hint=f"stages: {', '.join(STAGES)}")
    results = []
    with locked(project):
        work = _Work(project, open_target(project), force)
        for name in list(STAGES)[: list(STAGES).index(until) + 1]:
            reporter.stage(name)
            result = _bring_up(name, work, reporter)
            results.append(result)
            on_result(result)
            if name == "register":
                _refuse(result.details, project)
    return results


def estimate(project: Project, *, reporter: Reporter) -> Details:
    """Tell what the training of a project will take on this machine, from a few real steps.

    Brings the project as far as its dataset first.
    """
    with locked(project):
        work = _Work(project, open_target(project))
        for name in ("model", "data"):
            reporter.stage(name)
            _bring_up(name, work, reporter)
        reporter.stage("estimate")
        planned = plan("estimate", project, work.published)
        work.target.submit(planned, reporter)
        manifest = read_manifest(Path(planned.output))
        shutil.rmtree(planned.output)  # the machine may be faster or slower the next time
        if manifest is None:
            raise TryLater("the estimate is gone", hint="type the same command again")
        return dict(manifest.facts)


def status(project: Project) -> list[StageResult]:
    """Tell how each stage stands, without making anything; `missing` is what `run` would do."""
    work = _Work(project, open_target(project), only_looks=True)
    results: list[StageResult] = []
    for name, stage in STAGES.items():
        before = not results or results[-1].state == "current"
        problem = "not made yet"
        try:
            details = stage.look(work) if before else None
        except MissingInput as error:  # a file of the user's: `run` says the same, as an error
            details, problem = None, error.message
        if details is None:
            results.append(StageResult(name, "missing", 0.0, problem))
        else:
            results.append(StageResult(name, "current", 0.0, stage.describe(details), details))
    return results


def down(project: Project) -> list[str]:
    """Stop everything that was started for a project, and nothing else; say what it was."""
    with locked(project):
        return [*flow.stop(project), *open_target(project).down()]


def down_idle(project: Project, *, say: Callable[[str], None]) -> list[str]:
    """Stop what is billed and what nobody has asked for long; say when it was asked last.

    Raises `UsageError` where nothing is billed, or how long that is was never said.
    """
    with locked(project):
        return open_target(project).down_idle(say=say)


def _bring_up(name: str, work: _Work, reporter: Reporter) -> StageResult:
    stage = STAGES[name]
    state: State = "current"
    started = time.monotonic()
    details = stage.look(work)
    if details is None:
        state = "resumed" if stage.make(work, reporter) else "done"
        details = stage.look(work)
        if details is None:
            raise TryLater(
                f"{name} was made and does not stand any more",
                hint="type the same command again; `hieno status` shows what is there",
            )
    seconds = time.monotonic() - started
    return StageResult(name, state, seconds, stage.describe(details), details)


def _look_model(work: _Work) -> Details | None:
    config = work.project.config
    root = models.find(config.model, revision=config.revision, folder=work.project.root)
    engine = choose_engine(config.package.engine)
    manifest = root and read_manifest(root)
    if not root or not manifest:
        return _known_model(work, engine) if work.only_looks else None
    weights = first_format(config.package.weights)
    if work.target.serves_base and not is_ready(root, engine=engine, weights=weights):
        return None
    work.published.add("base", root, manifest)
    return {**manifest.facts, "folder": str(root), "digest": manifest.digest, "engine": engine}


def _known_model(work: _Work, engine: str) -> Details | None:
    """Return what the target knows of a base model that is not here: enough to look with."""
    manifest = work.target.base()
    if manifest is None:
        return None
    work.published.add("base", Path(work.project.config.model), manifest)
    return {**manifest.facts, "folder": None, "digest": manifest.digest, "engine": engine}


def _make_model(work: _Work, reporter: Reporter) -> bool:
    config = work.project.config
    root = models.pull(
        config.model, revision=config.revision, folder=work.project.root, reporter=reporter
    )
    if work.target.serves_base:
        engine = choose_engine(config.package.engine)
        weights = first_format(config.package.weights)
        convert_base(root, engine=engine, weights=weights, say=reporter.say)
    return False


def _heavy(name: str, role: str) -> _Stage:
    def look(work: _Work) -> Details | None:
        planned = plan(name, work.project, work.published)
        folder = Path(planned.output)
        manifest = read_manifest(folder)
        if (manifest is None or manifest.key != planned.key) and work.target.find(planned):
            manifest = read_manifest(folder)
        if manifest is None or manifest.key != planned.key:
            return None
        work.published.add(role, folder, manifest)
        return {**manifest.facts, "folder": str(folder), "digest": manifest.digest}

    def make(work: _Work, reporter: Reporter) -> bool:
        planned = plan(name, work.project, work.published)
        resumed = any(Path(planned.work).glob("checkpoint-*"))
        work.target.submit(planned, reporter)
        return resumed

    return _Stage(look, make, getattr(describe, name))


def _look_evaluate(work: _Work) -> Details | None:
    details = _EVALUATE.look(work)
    if details is None:
        return None
    folder, show = Path(details["folder"]), work.project.config.evaluate.show
    rows = list(read_jsonl(folder / "examples.jsonl"))
    return {**details, "shown": [_example(row) for row in spread(rows, show)]}


def _example(row: Mapping[str, Any]) -> dict[str, str]:
    replies = {model: row[model]["reply"] for model in ("base", "tuned")}
    return {"question": row["messages"][-1]["content"], **replies}


def _look_register(work: _Work) -> Details | None:
    if work.force:
        _waive(work)
    details = _REGISTER.look(work)
    if details is None:
        return None
    current = aliases(work.project.registry).get(details["alias"]) == details["version"]
    return details if current else None


def _waive(work: _Work) -> None:
    package, evaluation = (work.published.manifests[role] for role in ("package", "evaluation"))
    gate = evaluation.facts["gate"]
    if not gate["passed"]:
        waive(
            work.project.registry,
            package=package.digest,
            evaluation=evaluation.digest,
            reasons=gate["reasons"],
        )


def _refuse(registered: Details, project: Project) -> None:
    if registered["alias"] == "champion":
        return
    serving = champion(project.registry)
    kept = f"; version {serving.version} stays champion" if serving else ""
    raise GateFailed(
        f"version {registered['version']} may not serve{kept}: "
        + "; ".join(registered["gate"]["reasons"]),
        hint="`hieno evaluate` shows the comparison; `hieno register --force` lets it serve all the"
        " same, and its lineage says so",
    )


def _look_deploy(work: _Work) -> Details | None:
    version = champion(work.project.registry)
    registered = work.published.manifests["registration"].facts
    if version is None or version.version != registered["version"]:
        return None
    return work.target.serving(version)


def _make_deploy(work: _Work, reporter: Reporter) -> bool:
    version = champion(work.project.registry)
    registered = work.published.manifests["registration"].facts
    if version is None or version.version != registered["version"]:
        raise GateFailed(
            f"version {registered['version']} is not the champion any more",
            hint="type the same command again",
        )
    if verify(Path(version.package), whole=False).digest != version.digest:
        raise BrokenArtifact(
            f"{version.package} is not the package that was registered as version"
            f" {version.version}",
            hint="delete that folder and run `hieno up` to make it again",
        )
    work.target.deploy(
        version,
        base=work.published.folders["base"],
        say=reporter.say,
        questions=_questions(work.published.folders["evaluation"]),
    )
    return False


def _questions(evaluation: Path) -> list[Question]:
    """Return a few held-out chats with what the tuned model replied."""
    rows = [
        row
        for row in read_jsonl(evaluation / "answers.jsonl")
        if row["kind"] == "held-out" and row["tuned"]["reply"].strip()
    ]
    return [
        Question(row["messages"], row["tuned"]["reply"])
        for row in rows[:: max(1, len(rows) // ASKED)][:ASKED]
    ]


def _look_flow(work: _Work) -> Details | None:
    model = work.published.manifests["package"].digest
    try:
        address = work.target.address()
    except (MissingInput, Unreachable):
        return None
    return flow.look(work.project, address, model)


def _make_flow(work: _Work, reporter: Reporter) -> bool:
    published = work.published.manifests
    examples = read_jsonl(work.published.folders["evaluation"] / "examples.jsonl")
    asked = [row["messages"][-1]["content"] for row in islice(examples, 2)]
    questions = [*asked, *conversation.QUESTIONS][:2]
    flow.make(work.project, work.target.connect(), published["package"].digest, questions, reporter)
    return False


_EVALUATE = _heavy("evaluate", "evaluation")
_REGISTER = _heavy("register", "registration")
STAGES: Mapping[str, _Stage] = {
    "model": _Stage(_look_model, _make_model, describe.model),
    "data": _heavy("data", "dataset"),
    "train": _heavy("train", "run"),
    "package": _heavy("package", "package"),
    "evaluate": _Stage(_look_evaluate, _EVALUATE.make, _EVALUATE.describe),
    "register": _Stage(_look_register, _REGISTER.make, _REGISTER.describe),
    "deploy": _Stage(_look_deploy, _make_deploy, describe.deploy),
    "flow": _Stage(_look_flow, _make_flow, describe.flow),
}
