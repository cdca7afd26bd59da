"""A stage as a command job: started once, followed, found again, cancelled.

A job is named by the stage's key and how often it was tried, so the same command finds it again
from any machine and never starts a second one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any  # entities of a library that is imported late

from hieno.config import Config
from hieno.errors import HienoError, Interrupted, MissingInput, TryLater, UserError
from hieno.reporting import Reporter
from hieno.stages import StagePlan
from hieno.targets.azure import assets, budget, images
from hieno.targets.azure.client import Workspace
from hieno.targets.azure.failures import explained
from hieno.targets.azure.stream import Details, History, Listener, failed

ENDED = ("Completed", "Failed", "Canceled")
ATTEMPTS = 50
POLL = (0.5, 5.0)  # seconds between two looks: while something happens, and while nothing does
TAG = "hieno.project"


def run(
    plan: StagePlan, config: Config, workspace: Workspace, reporter: Reporter, log: Path
) -> None:
    """Bring a stage's job to its end: attach to one that runs, else start one.

    Raises `Interrupted` on Ctrl-C, and the job goes on without us.
    """
    with explained(f"running {plan.stage}"):
        tried = _attempts(workspace, plan.stage, plan.key)
        name, known = _newest(tried, plan)
        tags = dict(known.tags or {}) if known else {}
        if known is None:
            nodes = _nodes(plan, config)
            _require_cluster(workspace, config, nodes)
            allowed = budget.allow(config, workspace, nodes, tried)
            name = _start(name, plan, config, workspace, reporter, allowed)
            reporter.say(str(allowed))
            tags = allowed.tags
        reporter.say(f"{'attached to' if known else 'started'} job {name} on Azure")
        try:
            _follow(name, workspace, reporter, log, budget.Meter(tags, reporter))
        except KeyboardInterrupt:
            raise Interrupted(
                f"the job {name} goes on, on Azure",
                hint="the same command attaches to it again; `hieno down` cancels it",
            ) from None


def completed(workspace: Workspace, stage: str, key: str) -> str | None:
    """Return the job that made a stage's result, if there is one."""
    found = [job for job in _attempts(workspace, stage, key) if job.status == "Completed"]
    return str(found[-1].name) if found else None


def cancel(workspace: Workspace) -> list[str]:
    """Cancel every job of the project that has not ended; return their names."""
    with explained("cancelling jobs"):
        active = [
            job
            for job in workspace.ml.jobs.list()
            if (job.tags or {}).get(TAG) == workspace.store.project and job.status not in ENDED
        ]
        waiting = [workspace.ml.jobs.begin_cancel(job.name) for job in active]
        for operation in waiting:
            operation.result()
    return [f"job {job.name}" for job in active]


def _newest(tried: Sequence[Any], plan: StagePlan) -> tuple[str, Any | None]:
    """Return the job that is still at work, or the name of the next one and None."""
    if tried and tried[-1].status not in ENDED:
        return tried[-1].name, tried[-1]
    if len(tried) == ATTEMPTS:
        raise HienoError(
            f"{plan.stage} has failed {ATTEMPTS} times on Azure",
            hint=f"`hieno logs {plan.stage}` says why",
        )
    return _name(plan.stage, plan.key, len(tried) + 1), None


def _attempts(workspace: Workspace, stage: str, key: str) -> list[Any]:
    from azure.core.exceptions import ResourceNotFoundError

    found: list[Any] = []
    try:
        while len(found) < ATTEMPTS:
            found.append(workspace.ml.jobs.get(_name(stage, key, len(found) + 1)))
    except ResourceNotFoundError:
        pass
    return found


def _name(stage: str, key: str, attempt: int) -> str:
    return f"{stage}-{key[:12]}-{attempt}"


def _require_cluster(workspace: Workspace, config: Config, nodes: int) -> None:
    """Raise `UserError` where the cluster is not made, or made for fewer nodes than are wanted."""
    from azure.core.exceptions import ResourceNotFoundError

    wanted, name = config.azure.cluster, workspace.names.cluster
    try:
        most = int(workspace.ml.compute.get(name).max_instances)
    except ResourceNotFoundError:
        priority = ", low priority" if wanted.low_priority else ""
        raise MissingInput(
            f"there is no cluster {name} yet (azure.cluster: {wanted.size}{priority})",
            hint="`hieno azure up` makes it and removes the one before; `hieno azure plan` shows "
            "that first",
        ) from None
    if nodes > most:
        raise UserError(
            f"the cluster {name} has {most} machine{'s' if most > 1 else ''} at most, and "
            f"azure.cluster.nodes is {nodes}",
            hint=f"`hieno azure up` lets it have azure.cluster.max_nodes, which is "
            f"{wanted.max_nodes}",
        )


def _start(
    name: str,
    plan: StagePlan,
    config: Config,
    workspace: Workspace,
    reporter: Reporter,
    allowed: budget.Allowance,
) -> str:
    from azure.ai.ml import Input, Output, PyTorchDistribution, command
    from azure.ai.ml.entities import ManagedIdentityConfiguration

    store, cluster = workspace.store, config.azure.cluster
    inputs = assets.send(plan, store, reporter)
    output = store.place(Path(plan.output))
    nodes = _nodes(plan, config)
    per_node = max(1, config.train.processes)
    outputs = {"result": output}
    if plan.stage == "train":
        outputs["work"] = f"{output}.work"
    job = command(
        name=name,
        display_name=f"{config.name} {plan.stage}",
        experiment_name=config.mlflow.experiment or config.name,
        command=_command(inputs, outputs),
        environment=images.of_job(workspace, plan.stage, cluster.size, reporter.say),
        compute=workspace.names.cluster,
        inputs={
            key: Input(
                type="uri_file" if assets.is_file(key) else "uri_folder",
                path=store.uri(path),
                mode="download",
            )
            for key, path in inputs.items()
        },
        outputs={
            key: Output(type="uri_folder", path=store.uri(f"{path}/"), mode="rw_mount")
            for key, path in outputs.items()
        },
        instance_count=nodes,
        distribution=PyTorchDistribution(process_count_per_instance=per_node)
        if nodes > 1
        else None,
        # Azure sets PyTorch's other variables; with this one each knows who shares its memory
        environment_variables={"LOCAL_WORLD_SIZE": str(per_node)} if nodes > 1 else {},
        shm_size="8g",
        timeout=allowed.seconds,
        identity=ManagedIdentityConfiguration(),
        tags={
            TAG: store.project,
            "hieno.key": plan.key,
            "hieno.stage": plan.stage,
            **allowed.tags,
        },
    )
    return str(workspace.ml.jobs.create_or_update(job).name)


def _nodes(plan: StagePlan, config: Config) -> int:
    return config.azure.cluster.nodes if plan.stage == "train" else 1


def _command(inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    words = [f"python -m zipfile -e ${{{{inputs.{assets.CODE}}}}} .", "&&"]
    words += ["python -X utf8 -m hieno.targets.azure.job"]
    for key in inputs:
        mounted = f"${{{{inputs.{key}}}}}"
        if key == assets.PLAN:
            words.append(f"--plan {mounted}")
        elif key.startswith(assets.FILE):
            words.append(f"--file {key.removeprefix(assets.FILE)}={mounted}")
        elif key != assets.CODE:
            words.append(f"--input {key}={mounted}")
    words += [f"--{key} ${{{{outputs.{key}}}}}" for key in outputs]
    return " ".join(words)


def _follow(
    name: str, workspace: Workspace, reporter: Reporter, log: Path, meter: budget.Meter
) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    history = History(workspace)
    try:
        with log.open("wb") as file:
            listener = Listener(history, reporter, file)
            details = _until_ended(name, history, listener, reporter, meter)
            if details.status != "Completed":
                raise failed(name, details, listener, str(log))
    finally:
        history.close()


def _until_ended(
    name: str, history: History, listener: Listener, reporter: Reporter, meter: budget.Meter
) -> Details:
    before, pause = "", POLL[0]
    while True:
        details = history.details(name)
        if details.status != before:
            if before == "Running" and details.status in ("Queued", "Preparing", "Starting"):
                reporter.say(f"{name} lost its machine and waits for another")
                listener.begin_anew()
            elif details.status not in ENDED:
                reporter.say(f"{name}: {details.status.lower()}")
            before, pause = details.status, POLL[0]
        listener.hear(details)
        meter.read(details)
        if details.status in ENDED:
            return details
        time.sleep(pause)
        pause = min(POLL[1], pause * 1.2)


def gone(stage: str) -> TryLater:
    """Return the error that a job has completed and its result is not there."""
    return TryLater(
        f"{stage} has completed on Azure and its result is not whole there",
        hint="type the same command again: it is made anew",
    )
