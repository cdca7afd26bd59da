"""An endpoint that nobody asks: since when, and how it is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource, now
from emulator.cloud import Cloud
from emulator.ml import monitor
from hieno.cli.commands import hieno
from hieno.project import open_project
from hieno.targets.azure.site import opened

Run = Callable[..., Result]


@pytest.fixture
def endpoint(project: Path, emulated: Any) -> Iterator[tuple[Cloud, ResourceId]]:
    """An endpoint that was made just now, in a project with 24 idle hours."""
    with (project / "hieno.yaml").open("a", encoding="utf-8") as file:
        file.write("  endpoint:\n    idle_hours: 24\ntarget: azure\n")
    with emulated() as cloud:
        with opened(open_project(project)) as site:
            whole = f"{site.workspace}/onlineEndpoints/{site.names.endpoint}"
            for id in (site.group, site.workspace, whole, f"{whole}/deployments/blue"):
                known = ResourceId(id)
                stamp = {"createdAt": now()}
                properties = {"instanceType": "Standard_E4s_v3"}
                body = {"id": id, "name": known.name, "type": known.type, "systemData": stamp}
                cloud.resources.put(Resource(known, {**body, "properties": properties}))
        yield cloud, ResourceId(whole)


def down() -> Result:
    return CliRunner().invoke(hieno, ["down", "--idle"])


def test_an_endpoint_goes_when_nobody_was_answered_for_so_long(
    run: Run, endpoint: tuple[Cloud, ResourceId]
) -> None:
    cloud, id = endpoint
    fresh = down()
    assert (fresh.exit_code, fresh.stdout) == (0, "nothing was stopped\n")
    assert fresh.stderr.startswith(f"endpoint {id.name} stays: not asked since it was made ")
    assert fresh.stderr.endswith(", 0 h ago; 24 h make it idle\n")

    monitor.age(cloud, timedelta(hours=30))
    cloud.ml.monitor.answered(id, 200)
    monitor.age(cloud, timedelta(hours=10))
    cloud.ml.monitor.answered(id, 401)  # a stranger uses nothing
    asked = down()
    assert asked.exit_code == 0, asked.stderr
    assert asked.stderr.startswith(f"endpoint {id.name} stays: last asked ")
    assert cloud.resources.get(id) is not None

    monitor.age(cloud, timedelta(hours=15))
    assert "`hieno down --idle` removes it" in run("status").stdout
    idle = down()
    assert idle.stdout == f"stopped endpoint {id.name}\n", idle.stderr
    assert cloud.resources.get(id) is None
    assert down().stderr == f"there is no endpoint {id.name}\n"


def test_an_endpoint_stays_while_a_version_comes_in_or_while_nobody_can_say(
    run: Run, endpoint: tuple[Cloud, ResourceId]
) -> None:
    cloud, id = endpoint
    monitor.age(cloud, timedelta(hours=50))
    found = cloud.resources.require(id)
    found.body["tags"] = {"hieno.rolling": "green"}
    assert "a version is coming in" in down().stderr

    found.body["tags"] = {}
    cloud.faults.add("missing-role at=GET:*/Microsoft.Insights/metrics times=2")
    assert "not known when it was asked" in run("status").stdout
    refused = down()
    assert refused.exit_code == 2
    assert "Azure refused asking when" in refused.stderr
    assert cloud.resources.get(id) is not None


def test_nothing_is_idle_where_nobody_said_when(project: Path) -> None:
    del project
    here, there = down(), CliRunner().invoke(hieno, ["down", "--idle", "--set", "target=azure"])
    assert (here.exit_code, there.exit_code) == (2, 2)
    assert "nothing that runs on this machine is billed" in here.stderr
    assert "azure.endpoint.idle_hours does not say" in there.stderr
