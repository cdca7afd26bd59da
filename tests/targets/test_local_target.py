"""What this machine's target makes of traffic that somebody set by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hieno.endpoint import state
from hieno.endpoint.state import DeploymentSpec, DeploymentStatus, Desired, Observed, Page
from hieno.processes import identify
from hieno.project import Project, open_project
from hieno.registry.versions import ModelVersion
from hieno.targets import open_target

PAGE = Page(title="books")  # what the project below says of its chat page


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "hieno.yaml").write_text("name: books\nmodel: demo\n", encoding="utf-8")
    return open_project(tmp_path)


def version(project: Project, number: int) -> ModelVersion:
    package = project.packages / str(number)
    package.mkdir(parents=True, exist_ok=True)
    lineage = {"dataset": {"digest": "d"}}
    return ModelVersion("books", number, str(package), f"p{number}", "now", lineage)


def write(project: Project, desired: Desired) -> None:
    """Write an endpoint down as if this process were its gateway and all were ready."""
    state.write_desired(project.endpoint, desired)
    ready = {
        name: DeploymentStatus(spec.version, "ready") for name, spec in desired.deployments.items()
    }
    gateway = identify(os.getpid())
    state.write_observed(project.endpoint, Observed(gateway, 8000, desired.revision, ready))


def rolled_back(project: Project) -> Desired:
    """Return an endpoint that serves version 1 again, after version 2 was deployed."""
    specs = [
        DeploymentSpec(version=str(n), command=("true",), root=version(project, n).package)
        for n in (1, 2)
    ]
    return Desired(
        name="hieno",
        port=8000,
        traffic={"blue": 100},
        deployments={"blue": specs[0]},
        retired={"green": specs[1]},
        newest="green",
        page=PAGE,
    )


def test_version_that_was_rolled_back_is_not_deployed_again(project: Project) -> None:
    write(project, rolled_back(project))
    found = open_target(project).serving(version(project, 2))
    assert found is not None
    assert (found["traffic"], found["retired"]) == ({"blue": 100}, {"green": "2"})


def test_version_that_was_never_deployed_is_not_serving(project: Project) -> None:
    write(project, rolled_back(project))
    assert open_target(project).serving(version(project, 3)) is None


def test_roll_out_that_was_killed_is_not_serving(project: Project) -> None:
    write(project, replace(rolled_back(project), settled=False))
    assert open_target(project).serving(version(project, 2)) is None


def test_hand_set_traffic_is_brought_back_as_it_was(project: Project, tmp_path: Path) -> None:
    write(project, rolled_back(project))
    said: list[str] = []
    open_target(project).deploy(version(project, 2), base=tmp_path, say=said.append)
    assert said == ["the traffic stays as it was set by hand; `hieno traffic` shows it"]
    found = state.read_desired(project.endpoint)
    assert found is not None
    assert found.traffic == {"blue": 100}


def test_feedback_that_is_turned_on_is_not_yet_what_serves(
    project: Project, tmp_path: Path
) -> None:
    write(project, rolled_back(project))
    (tmp_path / "hieno.yaml").write_text(
        "name: books\nmodel: demo\nendpoint:\n  feedback: on\n", encoding="utf-8"
    )
    changed = open_target(open_project(tmp_path))
    assert changed.serving(version(project, 2)) is None
    kept = replace(PAGE, feedback=str(tmp_path.resolve() / "feedback.jsonl"))
    write(project, replace(rolled_back(project), page=kept))
    assert changed.serving(version(project, 2)) is not None
