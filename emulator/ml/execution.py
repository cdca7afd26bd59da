"""How a job runs: it waits for nodes, its image is built, it works, its outputs are kept.

The statuses are Azure's. A node that is taken away ends an attempt; the job waits for nodes again
and begins anew under its name, with nothing but what its outputs hold.
"""

from __future__ import annotations

import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal  # Any: jobs are JSON

from emulator.arm.errors import ArmError
from emulator.arm.identities import principal_of
from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource
from emulator.ml import bindings, blobs, computes, images, processes, rights
from emulator.ml.data_plane import AUDIENCE, RUN
from emulator.ml.dockerfile import CannotBuild
from emulator.ml.durations import seconds
from emulator.ml.mounts import Mount
from emulator.ml.processes import Shape, Workers
from emulator.ml.runs import Run

if TYPE_CHECKING:
    from emulator.cloud import Cloud

Outcome = Literal["done", "failed", "stopped", "preempted", "late"]

_TICK = 0.1
_SYNC = 1.0  # seconds between two looks at what a job wrote
_MONTH = 30 * 86_400.0  # how long a job may run that names no limit


@dataclass(frozen=True)
class Work:
    """One job: what it is, where it runs, what is known of it."""

    job: Resource
    run: Run
    cluster: ResourceId
    shape: Shape
    folder: Path

    @property
    def properties(self) -> dict[str, Any]:
        return self.job.properties

    @property
    def workspace(self) -> ResourceId:
        return self.job.id.parent


def execute(cloud: Cloud, work: Work) -> None:
    """Run a job to its end."""
    run = work.run
    try:
        outcome: Outcome = "preempted"
        while outcome == "preempted":
            run.become("Queued")
            if slow := cloud.faults.take("slow", work.job.id.text):
                run.stopped.wait(int(slow.details.get("polls", "3")) * _TICK)
            if not computes.lease(cloud, work.cluster, work.shape.nodes, run.stopped):
                outcome = "stopped"
                break
            outcome = "failed"
            try:
                outcome = _attempt(cloud, work)
            finally:
                taken = outcome == "preempted"
                computes.release(cloud, work.cluster, work.shape.nodes, preempted=taken)
        _end(work, outcome)
    except CannotBuild as error:
        run.fail("ImageBuildFailure", f"The image build failed: {error}")
    except FileNotFoundError as error:
        run.fail("UserError", f"ScriptExecution.StreamAccess.NotFound: {error} does not exist.")
    except ArmError as error:
        run.fail(error.code, error.message)
    except Exception as error:  # a job that never ends would hide it
        traceback.print_exc()
        run.fail("EmulatorFailed", f"The emulator failed: {error!r}")


def _attempt(cloud: Cloud, work: Work) -> Outcome:
    run = work.run
    run.attempts += 1
    run.become("Preparing")
    image = _image(cloud, work)
    folder = work.folder / f"attempt-{run.attempts}"
    rights.require_mounts(cloud, work.workspace, cloud.resources.require(work.cluster))
    bound = bindings.bind(cloud, work.workspace, work.properties, folder)
    places = [
        _node(cloud, work, image, bound, folder / f"node-{n}") for n in range(work.shape.nodes)
    ]
    code, _ = places[0]
    for name in ("outputs", "logs"):
        artifacts = cloud.ml.runs.artifacts(run)
        (code / name).mkdir(exist_ok=True)
        below = blobs.Place(artifacts.account, artifacts.container, f"{artifacts.path}/{name}")
        bound.mounts.append(Mount(code / name, below))
    workers = processes.start(
        bound.command(work.properties["command"]),
        work.shape,
        folders=[code for code, _ in places],
        logs=work.folder / "user_logs",  # a second attempt goes on in the same log
        environments=[environment for _, environment in places],
    )
    cloud.ml.started(work.job.id, workers)
    run.become("Running")
    try:
        outcome = _watch(cloud, work, bound, workers)
    finally:
        workers.end(kill=True)
    if outcome != "preempted":
        run.become("Finalizing")
    bound.write(at_end=outcome != "preempted")
    _keep_logs(cloud, work, workers)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _watch(cloud: Cloud, work: Work, bound: bindings.Bindings, workers: Workers) -> Outcome:
    began = synced = time.monotonic()
    limit = seconds((work.properties.get("limits") or {}).get("timeout"), _MONTH)
    while True:
        code = workers.code()
        if code is not None:
            return "failed" if code else "done"
        if work.run.stopped.wait(_TICK):
            workers.end()
            return "stopped"
        if time.monotonic() - began > limit:
            workers.end()
            return "late"
        if _is_taken(cloud, work, workers):
            workers.end(kill=True)
            return "preempted"
        if time.monotonic() - synced > _SYNC:
            bound.write()
            _keep_logs(cloud, work, workers)
            synced = time.monotonic()


def _is_taken(cloud: Cloud, work: Work, workers: Workers) -> bool:
    """Tell whether a node is taken away now; `when=WORDS` waits until the job said them."""
    if not computes.is_low_priority(cloud.resources.require(work.cluster)):
        return False
    for fault in cloud.faults.pending():
        words = fault.details.get("when", "").encode()
        if fault.kind == "preempt" and any(words in said for said in workers.said().values()):
            return cloud.faults.take("preempt", work.job.id.text) is not None
    return False


def _image(cloud: Cloud, work: Work) -> images.Image:
    environment = cloud.resources.require(work.properties["environmentId"])
    try:
        return images.build(cloud, environment)
    except CannotBuild as error:
        name = "azureml-logs/20_image_build_log.txt"
        cloud.ml.runs.artifacts(work.run).write(name, f"{error}\n".encode())
        work.run.logs.append(name)
        raise


def _node(
    cloud: Cloud, work: Work, image: images.Image, bound: bindings.Bindings, folder: Path
) -> tuple[Path, dict[str, str]]:
    """Lay out one node; return where the command starts and its variables."""
    code = folder / "code"
    code.mkdir(parents=True)
    if work.properties.get("codeId"):
        blobs.resolve(cloud, work.workspace, work.properties["codeId"]).download(code)
    python = images.interpreter(image, folder / "image")
    variables = images.variables(cloud, image, python, folder / "home")
    return code, {
        **variables,
        **bound.variables,
        **_azure_variables(cloud, work),
        "AZURE_ML_OUTPUT_default": str(code / "outputs"),
        **(work.properties.get("environmentVariables") or {}),
    }


def _azure_variables(cloud: Cloud, work: Work) -> dict[str, str]:
    workspace = cloud.resources.require(work.workspace)
    _, _, subscription, _, group, *_ = work.workspace.text.split("/")
    run, cluster = work.run, cloud.resources.require(work.cluster)
    principal = principal_of(cloud, cluster) or cloud.entra.person
    return {
        "AZUREML_RUN_ID": run.id,
        "AZUREML_EXPERIMENT_NAME": run.experiment,
        "AZUREML_ARM_SUBSCRIPTION": subscription,
        "AZUREML_ARM_RESOURCEGROUP": group,
        "AZUREML_ARM_WORKSPACE_NAME": work.workspace.name,
        "MLFLOW_TRACKING_URI": workspace.properties["mlFlowTrackingUri"],
        "MLFLOW_TRACKING_TOKEN": cloud.entra.token(principal, AUDIENCE, **{RUN: run.id}),
        "MLFLOW_RUN_ID": run.id,
        "MLFLOW_EXPERIMENT_NAME": run.experiment,
        "MLFLOW_EXPERIMENT_ID": cloud.ml.runs.experiment_id(work.workspace, run.experiment),
        **cloud.entra.identity_environment(principal, cloud.plain_port),
    }


def _keep_logs(cloud: Cloud, work: Work, workers: Workers) -> None:
    artifacts = cloud.ml.runs.artifacts(work.run)
    for name, said in workers.said().items():
        path = f"user_logs/{name}"
        artifacts.write(path, said)
        if path not in work.run.logs:
            work.run.logs.append(path)


def _end(work: Work, outcome: Outcome) -> None:
    run = work.run
    if outcome == "done":
        run.become("Completed")
    elif outcome == "failed":
        log = next(reversed(run.logs), "user_logs/std_log.txt")
        run.fail(
            "UserError",
            "Execution failed. User process 'bash' did not end with exit code 0. Please check the"
            f" log file '{log}' for error details.",
        )
    else:
        if outcome == "late":
            limit = work.properties["limits"]["timeout"]
            run.error = {"code": "JobTimeout", "message": f"The job ran longer than {limit}."}
        run.become("Canceled")
