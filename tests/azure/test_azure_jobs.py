"""Jobs in the emulated Azure: what they raise is raised here, and none is started twice.

No model is trained: the stage stops at its inputs, which is where a job has all its parts already.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from emulator.cloud import Cloud
from emulator.ml.durations import seconds
from hieno.errors import BrokenArtifact, HienoError, Interrupted, MissingInput, UserError
from hieno.files import published, read_manifest
from hieno.project import Project, open_project
from hieno.stages import StagePlan
from hieno.targets.azure import jobs
from hieno.targets.azure.target import AzureTarget
from standing import emulated, make_base, make_project
from told import Told


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with emulated(tmp_path_factory.mktemp("azure")) as made:
        yield made


@pytest.fixture
def target(cloud: Cloud, tmp_path: Path) -> AzureTarget:
    cloud.faults.clear()
    return AzureTarget(make_project(tmp_path / "project", "azure"))


def plan(project: Project, key: str) -> StagePlan:
    """Plan to package a run that is another one by now."""
    folders = {role: project.state / "made" / role for role in ("base", "dataset", "run")}
    digests = {}
    for role, folder in folders.items():
        with published(folder, kind=role, key=role) as (partial, _):
            make_base(partial)
        manifest = read_manifest(folder)
        assert manifest is not None
        digests[role] = manifest.digest
    return StagePlan(
        stage="package",
        key=key * 64,
        output=str(project.packages / (key * 12)),
        work=str(project.packages / (key * 12 + ".work")),
        inputs={role: str(folder) for role, folder in folders.items()},
        digests={**digests, "run": "another"},
        settings={"package": {"engine": "auto"}, "name": "books"},
    )


def job_names(cloud: Cloud) -> list[str]:
    """Return the names of all jobs that were ever started."""
    sent = [entry for entry in cloud.trace.exchanges if entry.method == "PUT"]
    return [entry.path.rpartition("/")[2] for entry in sent if "/jobs/" in entry.path]


def test_what_a_job_raises_is_raised_here(target: AzureTarget) -> None:
    with pytest.raises(BrokenArtifact) as caught:
        target.submit(plan(target.project, "a"), Told())
    assert caught.value.message.endswith("changed while the work was planned")
    assert caught.value.hint == "type the same command again"


def test_a_failed_job_is_tried_again_under_the_next_number(
    cloud: Cloud, target: AzureTarget
) -> None:
    for _ in range(2):
        with pytest.raises(BrokenArtifact):
            target.submit(plan(target.project, "b"), Told())
    named = [name for name in job_names(cloud) if name.startswith("package-b")]
    assert named == ["package-bbbbbbbbbbbb-1", "package-bbbbbbbbbbbb-2"]


def test_an_image_that_cannot_be_built_is_said_with_the_last_words(
    cloud: Cloud, target: AzureTarget
) -> None:
    cloud.faults.add("build-image")
    with pytest.raises(HienoError) as caught:
        target.submit(plan(target.project, "c"), Told())
    assert "failed on Azure: " in caught.value.message
    assert "image build failed" in caught.value.message.lower()


def test_ctrl_c_leaves_the_job_at_work_and_the_same_command_attaches(
    cloud: Cloud, target: AzureTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", _interrupt)
        with pytest.raises(Interrupted) as caught:
            target.submit(plan(target.project, "d"), told)
    assert caught.value.message == "the job package-dddddddddddd-1 goes on, on Azure"
    with pytest.raises(BrokenArtifact):
        target.submit(plan(target.project, "d"), told)
    assert [name for name in job_names(cloud) if name.startswith("package-d")] == [
        "package-dddddddddddd-1"
    ]
    assert "attached to job package-dddddddddddd-1 on Azure" in told.lines


def test_down_cancels_what_is_still_at_work(
    target: AzureTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", _interrupt)
        with pytest.raises(Interrupted):
            target.submit(plan(target.project, "e"), Told())
    assert target.down() == ["job package-eeeeeeeeeeee-1"]
    workspace = target._workspace()
    assert workspace is not None
    assert jobs._attempts(workspace, "package", "e" * 64)[0].status == "Canceled"


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_a_cluster_that_was_changed_in_the_file_only_is_said_before_anything_is_sent(
    cloud: Cloud, target: AzureTarget
) -> None:
    with pytest.raises(BrokenArtifact):
        target.submit(plan(target.project, "1"), Told())  # makes the cluster of the file
    before = len(cloud.trace.exchanges)
    assert any("/content/" in one.path for one in cloud.trace.exchanges)
    larger = {"azure.cluster.size": "Standard_E8s_v3", "azure.cluster.low_priority": True}
    with pytest.raises(MissingInput) as caught:
        _with(target, larger).submit(plan(target.project, "2"), Told())
    assert caught.value.message == (
        "there is no cluster e8s-v3-low yet (azure.cluster: Standard_E8s_v3, low priority)"
    )
    assert caught.value.hint == (
        "`hieno azure up` makes it and removes the one before; `hieno azure plan` shows that first"
    )
    both = {"azure.cluster.nodes": 2, "azure.cluster.max_nodes": 3}
    training = replace(plan(target.project, "3"), stage="train")
    with pytest.raises(UserError) as caught:
        _with(target, both).submit(training, Told())
    assert caught.value.message == (
        "the cluster e4s-v3-jobs has 1 machine at most, and azure.cluster.nodes is 2"
    )
    assert caught.value.hint == "`hieno azure up` lets it have azure.cluster.max_nodes, which is 3"
    assert not any("/content/" in one.path for one in cloud.trace.exchanges[before:])

    with pytest.raises(BrokenArtifact):  # one machine is enough for it
        _with(target, {"azure.cluster.max_nodes": 3}).submit(plan(target.project, "2"), Told())


def _with(target: AzureTarget, flags: dict[str, object]) -> AzureTarget:
    return AzureTarget(open_project(target.project.root, flags=flags))


def test_a_budget_is_a_time_limit_and_earlier_attempts_are_part_of_it(
    cloud: Cloud, target: AzureTarget
) -> None:
    target = _with(target, {"azure.cluster.budget": 2})
    told = Told()
    with pytest.raises(BrokenArtifact):
        target.submit(plan(target.project, "f"), told)
    [sent] = [
        one.sent["properties"]
        for one in cloud.trace.exchanges
        if one.method == "PUT" and one.path.endswith("/jobs/package-ffffffffffff-1")
    ]
    # the machine is billed for two idle minutes more
    limit = seconds(sent["limits"]["timeout"], 0)
    assert limit == round(3600 * (2 / 0.44444 - 2 / 60))
    assert (sent["tags"]["hieno.hourly"], sent["tags"]["hieno.budget"]) == ("0.44444 USD", "2")
    assert "it may take 4.47 h, which cost 1.985 USD at list price" in told.lines
    assert told.lines[-1].startswith("it ran for 0.00 h: ")

    [run] = [one for one in cloud.ml.runs.all() if one.id == "package-ffffffffffff-1"]
    run.started = (datetime.now(UTC) - timedelta(hours=4.3)).isoformat()
    with pytest.raises(UserError) as caught:
        target.submit(plan(target.project, "f"), Told())
    said = "azure.cluster.budget is 2 USD, and earlier attempts have cost 1.926: at 0.4444 USD/hour"
    assert caught.value.message.startswith(said)
    assert caught.value.hint.startswith("raise azure.cluster.budget")
    assert "package-ffffffffffff-2" not in job_names(cloud)
