"""The real azureml-mlflow, in an image that is really built from its own pins, logs to its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: azure-ai-ml has no types

import ground
import httpx
import pytest
from ground import emulated, write

from emulator.arm.ids import ResourceId
from emulator.cloud import Cloud
from emulator.settings import Settings

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

PINS = Path(__file__).with_name("mlflow-pins.txt")
DOCKERFILE = "FROM python:3.13\nCOPY pins.txt /\nRUN pip install --requirement /pins.txt\n"
LOGS = """\
import mlflow
from mlflow.tracking import MlflowClient

mlflow.log_param("rate", 0.1)
for step in range(3):
    mlflow.log_metric("loss", 3.0 - step, step=step)
mlflow.set_tag("kind", "tiny")
mlflow.log_text("a report", "reports/report.txt")
run = mlflow.active_run() or mlflow.get_run(mlflow.last_active_run().info.run_id)
client = MlflowClient()
print("history", [m.value for m in client.get_metric_history(run.info.run_id, "loss")])
reports = mlflow.artifacts.list_artifacts(run.info.artifact_uri + "/reports")
print("artifacts", [one.path for one in reports])
try:
    client.list_artifacts(run.info.run_id, "reports")
except Exception as error:  # MLflow 3 asks for logged models, which Azure ML does not have
    print("models", "Azure ML does not have logged-models/search" in str(error))
found = client.search_runs([run.info.experiment_id], "tags.kind = 'tiny'")
print("found", [one.info.run_id == run.info.run_id for one in found])
print("text", mlflow.artifacts.load_text(run.info.artifact_uri + "/reports/report.txt"))
try:
    mlflow.log_param("rate", 0.2)
except Exception as error:
    print("again", "cannot be changed" in str(error))
try:
    mlflow.log_params({f"p{n}": n for n in range(250)})
except Exception as error:
    print("many", type(error).__name__)
"""
SAID = [
    "history [3.0, 2.0, 1.0]",
    "artifacts ['reports/report.txt']",
    "models True",
    "found [True]",
    "text a report",
    "again True",
    "many RestException",
]


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that installs the pins of its images, once per user."""
    with emulated(tmp_path_factory.mktemp("azure"), Settings(builds_images=True)) as cloud:
        yield cloud
        assert cloud.trace.refused == []  # MLflow reports to nobody else


def environment(ml: MLClient, folder: Path, pins: str) -> Any:
    from azure.ai.ml.entities import BuildContext, Environment

    context = write(folder, Dockerfile=DOCKERFILE, pins_txt=pins)
    return ml.environments.create_or_update(
        Environment(name=folder.name, build=BuildContext(path=context))
    )


def run_to_end(azure: Cloud, ml: MLClient, workspace: ResourceId, made: Any, code: str) -> Any:
    from azure.ai.ml import command

    job = command(code=code, command="python main.py", environment=made, compute=ground.CLUSTER)
    run = azure.ml.runs.require(workspace, ml.jobs.create_or_update(job).name)
    assert run.over.wait(240)  # the packages may have to be fetched
    return run


def test_a_job_logs_through_the_real_plugin(
    azure: Cloud, ml: MLClient, workspace: ResourceId, tmp_path: Path
) -> None:
    made = environment(ml, tmp_path / "mlflow", PINS.read_text(encoding="utf-8"))
    code = write(tmp_path / "code", main_py=LOGS)
    run = run_to_end(azure, ml, workspace, made, code)
    if run.error and run.error["code"] == "ImageBuildFailure":
        pytest.skip(f"the packages of the image cannot be had: {run.error['message'][-200:]}")
    address = azure.ml.runs.artifacts(run).signed("user_logs/std_log.txt")
    said = httpx.get(address, verify=azure.certificates.trust()).text
    assert run.status == "Completed", said
    first = [line.split(" ")[0] for line in SAID]
    assert [line for line in said.splitlines() if line.split(" ")[0] in first] == SAID
    assert "Error:" not in said  # the plugin says so where it misses something at its start
    assert run.parameters["rate"] == "0.1"
    assert len(run.parameters) <= 200  # those of the last batch went over the limit
    assert run.tags["kind"] == "tiny"
    assert [(one["step"], one["value"]) for one in run.metrics] == [(0, 3), (1, 2), (2, 1)]


@pytest.mark.slow
def test_pins_that_cannot_be_installed_fail_the_build(
    azure: Cloud, ml: MLClient, workspace: ResourceId, tmp_path: Path
) -> None:
    made = environment(ml, tmp_path / "wrong", "azureml-mlflow==0.0.0.1\n")
    run = run_to_end(azure, ml, workspace, made, write(tmp_path / "code", main_py="print(1)"))
    assert run.error["code"] == "ImageBuildFailure"
    assert "azureml-mlflow==0.0.0.1" in run.error["message"]
