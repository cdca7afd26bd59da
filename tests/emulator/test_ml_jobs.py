"""Jobs through azure-ai-ml: they really run, on nodes that come, are billed and go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: azure-ai-ml has no types

import ground
import httpx
import pytest
from ground import write

from emulator.cloud import Cloud
from waiting import wait_until

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

    from emulator.arm.ids import ResourceId

SPOT = "spot"
SECONDS = 30.0


@pytest.fixture(scope="module")
def workspace(azure: Cloud) -> ResourceId:
    made = ground.make_workspace(azure)
    ground.make_cluster(azure, made)
    ground.make_cluster(azure, made, name=SPOT, low=True)
    return made


@pytest.fixture(scope="module")
def ml(ml: MLClient) -> MLClient:
    ground.make_environment(ml)
    return ml


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("code"), main_py="import sys; print(*sys.argv[1:])\n")


def start(ml: MLClient, code: str, text: str, **more: Any) -> str:
    from azure.ai.ml import command

    asked = {"environment": "e:1", "compute": ground.CLUSTER, **more}
    name: str = ml.jobs.create_or_update(command(code=code, command=text, **asked)).name
    return name


def mounted(path: str) -> Any:
    from azure.ai.ml import Output

    address = f"azureml://datastores/workspaceblobstore/paths/{path}"
    return Output(type="uri_folder", path=address, mode="rw_mount")


def finished(azure: Cloud, workspace: ResourceId, name: str) -> Any:
    run = azure.ml.runs.require(workspace, name)
    assert run.over.wait(SECONDS)
    return run


def log(azure: Cloud, run: Any, name: str = "user_logs/std_log.txt") -> str:
    return httpx.get(azure.ml.runs.artifacts(run).signed(name), **trust(azure)).text


def trust(azure: Cloud) -> dict[str, Any]:
    return {"verify": azure.certificates.trust()}


def test_a_job_turns_inputs_into_outputs(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str, tmp_path: Path
) -> None:
    from azure.ai.ml import Input, Output, command

    data = write(tmp_path / "data", x_txt="a line")
    job = command(
        code=code,
        command="cp ${{inputs.data}}/x.txt ${{outputs.model}}/w.txt && mkdir -p outputs"
        " && echo kept > outputs/o.txt && python main.py ${{inputs.number}}",
        environment="e:1",
        compute=ground.CLUSTER,
        inputs={"data": Input(type="uri_folder", path=data), "number": 7},
        outputs={"model": Output(type="custom_model")},
    )
    name = ml.jobs.create_or_update(job).name
    ml.jobs.stream(name)  # the SDK's own way to wait
    assert ml.jobs.get(name).status == "Completed"
    ml.jobs.download(name, all=True, download_path=str(tmp_path / "down"))
    ml.jobs.download(name, output_name="model", download_path=str(tmp_path / "down"))
    down = tmp_path / "down"
    assert (down / "named-outputs/model/w.txt").read_text(encoding="utf-8") == "a line"
    assert (down / "artifacts/outputs/o.txt").read_text(encoding="utf-8") == "kept\n"
    assert (down / "artifacts/user_logs/std_log.txt").read_text(encoding="utf-8") == "7\n"


def test_nodes_are_billed_while_they_are_there(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str
) -> None:
    cluster = workspace.child("computes", ground.CLUSTER)
    wait_until(lambda: not azure.ledger.by_the_hour())
    name = start(ml, code, "sleep 20", instance_count=2)
    wait_until(lambda: ml.jobs.get(name).status == "Running")
    billed = azure.ledger.by_the_hour()
    assert [(one.resource, one.meter, one.quantity) for one in billed] == [
        (cluster.text, ground.SIZE, 2)
    ]
    assert azure.quota.used(ground.REGION, "standardESv3Family") == 8
    ml.jobs.begin_cancel(name).result()
    assert ml.jobs.get(name).status == "Canceled"
    wait_until(lambda: not azure.ledger.by_the_hour())
    assert azure.quota.used(ground.REGION, "standardESv3Family") == 0
    assert ml.compute.get(ground.CLUSTER).size == ground.SIZE


def test_processes_on_several_nodes_know_their_place_and_share_an_output(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str
) -> None:
    from azure.ai.ml import Output, PyTorchDistribution

    name = start(
        ml,
        code,
        "echo $NODE_RANK $LOCAL_RANK $WORLD_SIZE > ${{outputs.all}}/$RANK",
        instance_count=2,
        distribution=PyTorchDistribution(process_count_per_instance=2),
        outputs={"all": Output(type="uri_folder")},
    )
    run = finished(azure, workspace, name)
    assert run.status == "Completed"
    assert sorted(run.logs) == [f"user_logs/std_log_process_{rank}.txt" for rank in range(4)]
    account = azure.storage.open(ground.STORAGE)
    container = f"azureml-blobstore-{azure.resources.require(workspace).properties['workspaceId']}"
    with account.client() as blobs:
        said = [
            blobs.get_blob_client(container, f"azureml/{name}/all/{rank}").download_blob().readall()
            for rank in range(4)
        ]
    assert said == [b"0 0 4\n", b"0 1 4\n", b"1 0 4\n", b"1 1 4\n"]


def test_a_job_sees_only_what_it_declares(
    azure: Cloud,
    workspace: ResourceId,
    ml: MLClient,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_SECRET", "hidden")
    name = start(
        ml,
        code,
        "echo secret=$MY_SECRET client=$AZURE_CLIENT_SECRET path=$PYTHONPATH mine=$MINE home=$HOME"
        " && python -c 'import hieno; print(hieno.__file__)'",
        environment_variables={"MINE": "given"},
    )
    run = finished(azure, workspace, name)
    said = log(azure, run)
    assert f"secret= client= path= mine=given home={azure.folder}/jobs/{name}/" in said
    assert "/src/hieno/" not in said  # a checkout beside the emulator is not in the image


def test_a_failing_job_names_its_log(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str
) -> None:
    run = finished(azure, workspace, start(ml, code, "echo it broke; exit 3"))
    assert run.status == "Failed"
    assert run.error["code"] == "UserError"
    assert "user_logs/std_log.txt" in run.error["message"]
    assert log(azure, run) == "it broke\n"


def test_what_is_written_is_stored_while_the_job_works(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str
) -> None:
    out = mounted("mine/live")
    text = "cd ${{outputs.o}} && mkdir a.partial && echo 1 > a.partial/f && sleep 2"
    text = f"{text} && mv a.partial a"
    name = start(ml, code, f"{text} && sleep 20", outputs={"o": out})
    account = azure.storage.open(ground.STORAGE)
    container = f"azureml-blobstore-{azure.resources.require(workspace).properties['workspaceId']}"
    wait_until(lambda: account.names(container, "mine/live") == ["mine/live/a.partial/f"])
    wait_until(lambda: account.names(container, "mine/live") == ["mine/live/a/f"])
    assert ml.jobs.get(name).status == "Running"
    ml.jobs.begin_cancel(name).result()


def test_a_job_whose_node_is_taken_away_goes_on_from_what_it_stored(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str
) -> None:
    azure.faults.add("preempt when=step-2")
    out = mounted("mine/steps")
    text = (
        "n=$(ls ${{outputs.o}} | wc -l); echo begins at $n; while [ $n -lt 4 ]; do n=$((n+1));"
        " echo > ${{outputs.o}}/$n; echo step-$n; [ $n = 2 ] && sleep 20; done; true"
    )
    name = start(ml, code, text, compute=SPOT, outputs={"o": out})
    run = finished(azure, workspace, name)
    assert (run.status, run.attempts) == ("Completed", 2)
    begins = [line for line in log(azure, run).splitlines() if line.startswith("begins")]
    assert begins == ["begins at 0", "begins at 2"]
    assert azure.faults.met()[-1] == ("preempt", workspace.child("jobs", name).text)


def test_a_dedicated_node_is_not_taken_away(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str
) -> None:
    azure.faults.add("preempt")
    run = finished(azure, workspace, start(ml, code, "echo one; sleep 0.5"))
    azure.faults.clear()
    assert (run.status, run.attempts) == ("Completed", 1)


def test_a_time_limit_ends_a_job(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str
) -> None:
    from azure.ai.ml import command

    job = command(code=code, command="sleep 20", environment="e:1", compute=ground.CLUSTER)
    job.set_limits(timeout=1)
    run = finished(azure, workspace, ml.jobs.create_or_update(job).name)
    assert run.status == "Canceled"
    assert run.error == {"code": "JobTimeout", "message": "The job ran longer than PT1S."}


@pytest.mark.parametrize(
    ("dockerfile", "why"),
    [
        ("FROM a\nCOPY gone.txt /\n", 'Dockerfile:2: COPY failed: "/gone.txt": not found'),
        ("ENV A=1\n", "Dockerfile:1: no build stage in current context"),
    ],
)
def test_an_image_that_cannot_be_built_fails_the_job(
    azure: Cloud,
    workspace: ResourceId,
    ml: MLClient,
    code: str,
    tmp_path: Path,
    dockerfile: str,
    why: str,
) -> None:
    from azure.ai.ml.entities import BuildContext, Environment

    context = write(tmp_path / "context", Dockerfile=dockerfile)
    made = ml.environments.create_or_update(
        Environment(name=f"bad-{abs(hash(why))}", build=BuildContext(path=context))
    )
    run = finished(azure, workspace, start(ml, code, "true", environment=made))
    assert run.error == {"code": "ImageBuildFailure", "message": f"The image build failed: {why}"}
    assert log(azure, run, "azureml-logs/20_image_build_log.txt") == f"{why}\n"


def test_an_image_can_fail_on_demand_and_the_next_job_runs(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str
) -> None:
    azure.faults.add("build-image message='no space left'")
    assert finished(azure, workspace, start(ml, code, "true")).status == "Failed"
    assert finished(azure, workspace, start(ml, code, "true")).status == "Completed"


def test_a_second_put_changes_what_is_said_and_runs_nothing_twice(
    azure: Cloud, workspace: ResourceId, ml: MLClient, code: str
) -> None:
    from azure.ai.ml import command

    job = command(code=code, command="echo once", environment="e:1", compute=ground.CLUSTER)
    job.name, job.tags = "twice", {"a": "1"}
    ml.jobs.create_or_update(job)
    run = finished(azure, workspace, "twice")
    job.tags = {"a": "2"}
    assert ml.jobs.create_or_update(job).tags == {"a": "2"}
    assert (run.status, run.attempts, log(azure, run)) == ("Completed", 1, "once\n")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"compute": "none"}, "The compute"),
        ({"instance_count": 5}, "The job wants 5 nodes; 'cpu' has at most 2."),
    ],
)
def test_a_job_that_cannot_run_is_refused(
    azure: Cloud, ml: MLClient, code: str, change: dict[str, Any], why: str
) -> None:
    from azure.core.exceptions import HttpResponseError

    with pytest.raises(HttpResponseError, match=why):
        start(ml, code, "true", **change)
