"""What goes wrong while a version comes in at an endpoint of Azure, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.cloud import Cloud
from emulator.ml import autoscale
from emulator.settings import Settings
from hieno.errors import HienoError, Interrupted, Unreachable, UserError
from hieno.project import Project, open_project
from hieno.targets.azure import rollout, serving
from hieno.targets.azure.target import AzureTarget
from standing import billed_in_turn, emulated, make_base, make_project, register, stand_ins


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    # four cores and a fifth, rounded up, are eight: room for one instance at a time
    with emulated(
        tmp_path_factory.mktemp("azure"), Settings(quota={"standardESv3Family": 12})
    ) as made:
        yield made


@pytest.fixture
def project(cloud: Cloud, tmp_path: Path) -> Iterator[Project]:
    cloud.faults.clear()
    made = make_project(tmp_path / "project", "azure")
    with stand_ins():
        yield made
        AzureTarget(made).down()
    assert not [entry for entry in cloud.ledger.running() if entry.by_the_hour]


def deploy(project: Project, number: int, *, replace: bool = False, **flags: object) -> list[str]:
    """Deploy a version; return what was said."""
    said: list[str] = []
    flags["azure.endpoint.replace"] = replace
    target = AzureTarget(open_project(project.root, flags=flags))
    version = register(target.project, number)
    target.deploy(version, base=make_base(project.root / "base"), say=said.append)
    return said


def served(project: Project) -> dict[str, str]:
    """Return the version behind each deployment that has traffic."""
    found = AzureTarget(project).endpoint()
    assert found is not None
    return {name: found.deployments[name].version for name, share in found.traffic.items() if share}


def seen(project: Project) -> serving.Seen | None:
    """Return the endpoint with all its deployments as they are in Azure."""
    target = AzureTarget(project)
    return target._seen(target._needed())


def test_without_quota_for_both_three_ways_are_named_and_replacing_is_one(
    project: Project, cloud: Cloud
) -> None:
    before = len(cloud.ledger.entries())
    deploy(project, 1)
    with pytest.raises(UserError) as caught:
        deploy(project, 2)
    assert caught.value.message.startswith("there is no quota for green beside blue: ")
    for way in ("hieno azure doctor", "azure.endpoint.size", "hieno deploy --replace"):
        assert way in caught.value.hint
    assert served(project) == {"blue": "1"}

    said = deploy(project, 2, replace=True)
    told = r"version 1 is removed first: nothing answers until the new one is ready, which took "
    assert re.fullmatch(told + r"\d+\.\d s the last time", said[0])
    assert served(project) == {"blue": "2"}

    with pytest.raises(HienoError, match="did not start"):
        deploy(project, 9, replace=True)
    assert served(project) == {"blue": "2"}, "what served before is started again"
    assert len(billed_in_turn(cloud, before)) == 4, "1, 2, 9 until it was removed, and 2 again"


def test_a_version_whose_replacement_fails_is_started_again_as_it_was(
    project: Project, cloud: Cloud
) -> None:
    scaled = {"azure.endpoint.scale.max_instances": 2}
    before = len(cloud.ledger.entries())
    deploy(project, 1, **scaled)
    old = seen(project)
    with pytest.raises(HienoError, match=r"version 2\) did not start: .* quota"):
        deploy(project, 2, replace=True, **scaled, **{"azure.endpoint.size": "Standard_E8s_v3"})
    assert served(project) == {"blue": "1"}
    assert seen(project) == old
    assert len(cloud.resources.of_type(autoscale.TYPE)) == 1, "its rules are there again"

    deploy(project, 2, replace=True, **scaled)
    assert served(project) == {"blue": "2"}
    assert len(cloud.resources.of_type(autoscale.TYPE)) == 1
    billed = billed_in_turn(cloud, before)
    assert [one.meter for one in billed] == ["Standard_E4s_v3"] * 3


def test_a_roll_out_that_was_killed_is_taken_back(project: Project) -> None:
    deploy(project, 1)
    target = AzureTarget(project)
    workspace = target._workspace()
    assert workspace is not None
    serving.change(workspace, rolling="green")  # the moment before it would have started
    said = deploy(project, 1)
    assert said[-1] == "blue serves version 1: nothing to do"
    assert served(project) == {"blue": "1"}
    assert target.serving(register(project, 1)) is not None


@pytest.mark.slow
def test_ctrl_c_while_it_starts_leaves_what_served_and_bills_nothing_else(
    project: Project, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted("interrupted", hint="again")

    deploy(project, 1)
    with monkeypatch.context() as patch:
        patch.setattr(rollout.Rollout, "_start", interrupted)
        with pytest.raises(Interrupted):
            deploy(project, 2)
    assert served(project) == {"blue": "1"}
    hourly = [entry for entry in cloud.ledger.running() if entry.by_the_hour]
    assert len(hourly) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["throttle", "unavailable"])
def test_what_azure_takes_back_by_itself_stops_nothing(
    project: Project, cloud: Cloud, fault: str
) -> None:
    cloud.faults.add(f"{fault} at=PUT:*/onlineEndpoints/* times=2")
    cloud.faults.add(f"{fault} at=GET:*/deployments/* times=2")
    deploy(project, 1)
    assert served(project) == {"blue": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("call", ["PUT:*/onlineEndpoints/*", "PUT:*/deployments/*"])
def test_a_lost_connection_is_said_and_the_same_command_goes_on(
    project: Project, cloud: Cloud, call: str
) -> None:
    cloud.faults.add(f"cut at={call}")
    with pytest.raises(Unreachable) as caught:
        deploy(project, 1)
    assert caught.value.exit_code == 3
    assert caught.value.hint.startswith("type the same command again")
    deploy(project, 1)
    assert served(project) == {"blue": "1"}
    hourly = [entry for entry in cloud.ledger.running() if entry.by_the_hour]
    assert len(hourly) == 1
