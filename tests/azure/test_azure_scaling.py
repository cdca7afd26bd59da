"""Autoscale rules: they come and go with the deployment that they are about."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from emulator.arm.resources import Resource
from emulator.cloud import Cloud
from emulator.ml import autoscale
from hieno import describe
from hieno.cli.commands import hieno
from hieno.errors import AccessDenied
from hieno.project import Project, open_project
from hieno.targets.azure import serving
from hieno.targets.azure.target import AzureTarget
from standing import emulated, make_base, make_project, register, stand_ins

Run = Callable[..., Result]
SCALED = {"azure.endpoint.scale.max_instances": 3, "azure.endpoint.scale.latency": 20}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with emulated(tmp_path_factory.mktemp("azure")) as made:
        yield made


@pytest.fixture
def project(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    cloud.faults.clear()
    made = make_project(tmp_path / "project", "azure")
    monkeypatch.chdir(made.root)
    with stand_ins():
        yield made
        AzureTarget(made).down()
    assert rules(cloud) == []
    assert not [entry for entry in cloud.ledger.running() if entry.by_the_hour]


def deploy(
    project: Project, number: int, say: Callable[[str], object] = str, **flags: object
) -> list[str]:
    """Deploy a version with settings of one's own; return what was said, and `say` it."""
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        say(line)

    version = register(project, number)
    target = AzureTarget(open_project(project.root, flags=flags))
    target.deploy(version, base=make_base(project.root / "base"), say=hear)
    assert target.serving(version) is not None
    return said


def rules(cloud: Cloud) -> list[Resource]:
    return cloud.resources.of_type(autoscale.TYPE)


def instances(cloud: Cloud) -> dict[str, int]:
    """Return how many instances of each deployment are billed."""
    hourly = [entry for entry in cloud.ledger.by_the_hour() if "/deployments/" in entry.resource]
    return {entry.resource.rpartition("/")[2]: entry.quantity for entry in hourly}


def test_rules_follow_the_version_that_serves_and_nothing_of_them_is_left(
    project: Project, cloud: Cloud, run: Run
) -> None:
    deploy(project, 1, **SCALED)
    [setting] = rules(cloud)
    blue = setting.properties["targetResourceUri"]
    assert blue.endswith("/deployments/blue")
    [profile] = setting.properties["profiles"]
    assert profile["capacity"] == {"minimum": "1", "default": "1", "maximum": "3"}
    told = [
        (one["metricTrigger"]["metricName"], one["metricTrigger"]["threshold"])
        for one in profile["rules"]
    ]
    assert told == [
        ("CpuUtilizationPercentage", 70),
        ("CpuUtilizationPercentage", 30),
        ("RequestLatency_P90", 20_000),
    ]

    autoscale.measure(cloud, blue, {"CpuUtilizationPercentage": 90})
    assert instances(cloud) == {"blue": 2}
    shown = run("status", "--json")
    [item] = [one for one in json.loads(shown.stdout)["items"] if one["kind"] == "deployment"]
    assert item["text"].startswith("2 x Standard_E4s_v3, succeeded, 1 to 3 by load, not asked ")
    assert "autoscale" not in shown.stdout

    autoscale.measure(cloud, blue, {"CpuUtilizationPercentage": 90}, late=True)
    target = AzureTarget(open_project(project.root, flags=SCALED))
    found = target.serving(register(project, 1))
    assert found is not None, "it goes on answering"
    assert describe.deploy(found).endswith(" (blue 100%, blue is scaling)")
    told = CliRunner().invoke(hieno, ["traffic"])
    assert told.stdout.split() == ["blue", "100%", "version", "1", "ready,", "scaling"]
    assert "3 x Standard_E4s_v3, scaling, 1 to 3 by load" in run("status").stdout
    assert deploy(project, 1, **SCALED)[-1] == "blue serves version 1: nothing to do"

    waits = "blue is scaling: it is removed when that is done"
    said = deploy(
        project, 2, say=lambda line: autoscale.arrive(cloud) if line == waits else None, **SCALED
    )
    assert waits in said
    assert "it starts with 3 instances, as many as blue has now" in said
    assert instances(cloud) == {"green": 3}
    [setting] = rules(cloud)
    green = setting.properties["targetResourceUri"]
    assert green.endswith("/deployments/green")
    for left in (2, 1):
        autoscale.measure(cloud, green, {"CpuUtilizationPercentage": 10})
        assert instances(cloud) == {"green": left}


@pytest.mark.parametrize(
    ("told", "state", "doing"),
    [
        ("Creating", "starting", ""),
        ("Succeeded", "ready", ""),
        ("Scaling", "ready", "scaling"),
        ("Updating", "ready", "updating"),
        ("Deleting", "stopped", "deleting"),
        ("Failed", "failed", ""),
        ("Canceled", "failed", ""),
    ],
)
def test_azure_s_word_for_a_deployment_is_whether_it_answers(
    told: str, state: str, doing: str
) -> None:
    found = serving._deployed(SimpleNamespace(provisioning_state=told, tags={}, instance_count=1))
    assert (found.state, found.doing) == (state, doing)


@pytest.mark.slow
def test_other_settings_change_the_rules_and_start_nothing_anew(
    project: Project, cloud: Cloud
) -> None:
    def started() -> int:
        sent = [one for one in cloud.trace.exchanges if one.method == "PUT"]
        return sum("/deployments/" in one.path for one in sent)

    deploy(project, 1)
    assert rules(cloud) == []
    before = started()
    assert (
        AzureTarget(open_project(project.root, flags=SCALED)).serving(register(project, 1)) is None
    )
    for most in (3, 4):
        deploy(project, 1, **{**SCALED, "azure.endpoint.scale.max_instances": most})
        [setting] = rules(cloud)
        assert setting.properties["profiles"][0]["capacity"]["maximum"] == str(most)
    deploy(project, 1)
    assert rules(cloud) == []
    assert started() == before


@pytest.mark.slow
def test_rules_that_could_not_be_set_are_said_and_the_same_command_sets_them(
    project: Project, cloud: Cloud
) -> None:
    cloud.faults.add("missing-role at=PUT:*/autoscaleSettings/*")
    with pytest.raises(AccessDenied, match="Azure refused setting the autoscale rules"):
        deploy(project, 1, **SCALED)
    assert rules(cloud) == []
    assert instances(cloud) == {"blue": 1}, "it serves, and says what is missing"
    deploy(project, 1, **SCALED)
    assert len(rules(cloud)) == 1
