"""What runs: its bill by the hour, and that its cores are not counted against the project twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource
from emulator.cloud import Cloud
from hieno.project import open_project
from hieno.targets.azure import plan, scaling
from hieno.targets.azure.prices import Prices
from hieno.targets.azure.site import opened

Run = Callable[..., Result]
FAMILY = "standardESv3Family"


def there(cloud: Cloud, id: str, **body: Any) -> None:
    """Put a resource where it would be, without the work that makes it."""
    known = ResourceId(id)
    document = {"id": id, "name": known.name, "type": known.type, "location": "eastus2", **body}
    cloud.resources.put(Resource(known, document))


@pytest.fixture
def running(project: Path, emulated: Any) -> Any:
    """A workspace with our endpoint, an instance of a version, and two machines at work."""
    with emulated() as cloud:
        with opened(open_project(project)) as site:
            there(cloud, site.group, tags=site.tags)
            there(cloud, site.workspace, properties={})
            endpoint = f"{site.workspace}/onlineEndpoints/{site.names.endpoint}"
            made = datetime.now(UTC) - timedelta(hours=40)
            there(cloud, endpoint, properties={}, systemData={"createdAt": made.isoformat()})
            there(
                cloud,
                f"{endpoint}/deployments/blue",
                properties={"instanceType": "Standard_E4s_v3", "provisioningState": "Succeeded"},
                sku={"name": "Default", "capacity": 1},
            )
            there(
                cloud,
                f"{site.workspace}/computes/{site.names.cluster}",
                properties={
                    "computeType": "AmlCompute",
                    "properties": {
                        "vmSize": "Standard_E16s_v3",
                        "vmPriority": "Dedicated",
                        "currentNodeCount": 2,
                    },
                },
            )
            cloud.quota.take(endpoint, "eastus2", "Standard_E4s_v3", 1, endpoint=True)
            cloud.quota.take("cluster", "eastus2", "Standard_E16s_v3", 2)
        yield cloud


def quota_line(run: Run) -> tuple[str, str]:
    findings = json.loads(run("doctor", "--json", "--cluster-max-nodes", "2").stdout)["findings"]
    found = next(one for one in findings if one["name"] == "quota")
    return found["state"], found["text"]


def test_the_project_s_own_machines_are_not_counted_twice(run: Run, running: Cloud) -> None:
    parts = f"{FAMILY}: 48 cores needed (cluster 32, blue 8, green 8)"
    assert running.quota.used("eastus2", FAMILY) == 40
    assert quota_line(run) == ("ok", f"{parts}, 0 used by others, limit 100")
    running.quota.take("somebody", "eastus2", "Standard_E4s_v3", 14)
    assert quota_line(run) == (
        "warn",
        f"{parts}, 56 used by others, limit 100: no room for the second version",
    )


def test_the_bill_adds_machines_up(run: Run, running: Cloud) -> None:
    result = run("status", "--json")
    assert result.exit_code == 0, result.stdout
    document = json.loads(result.stdout)
    kinds = {one["kind"]: one for one in document["items"]}
    text = "1 x Standard_E4s_v3, succeeded, not asked since it was made "
    assert kinds["deployment"]["text"].startswith(text)
    assert kinds["deployment"]["text"].endswith(" UTC, 40 h ago")
    assert kinds["cluster"]["text"] == "2 x Standard_E16s_v3"
    together = kinds["deployment"]["price"]["amount"] + kinds["cluster"]["price"]["amount"]
    assert document["hourly"]["amount"] == pytest.approx(together)
    last = run("status").stdout.splitlines()[-1]
    assert last.startswith("all machines ")
    assert last.endswith("until `hieno down`")


def test_a_job_that_has_not_ended_is_listed_and_one_that_has_is_not(
    run: Run, running: Cloud
) -> None:
    with opened(open_project()) as site:
        for name, status in (("train-1", "Running"), ("train-2", "Queued"), ("train-0", "Failed")):
            id = f"{site.workspace}/jobs/{name}"
            there(running, id, properties={"jobType": "Command", "tags": {}})
            run_of = running.ml.runs.begin(ResourceId(site.workspace), "books", name)
            run_of.become(status)
    jobs = json.loads(run("status", "--json").stdout)["jobs"]
    assert sorted(job["name"] for job in jobs) == ["train-1", "train-2"]
    lines = run("status").stdout.splitlines()
    jobs = [line.split() for line in lines if line.startswith("job")]
    assert sorted(jobs) == [
        ["job", "train-1", "has", "not", "ended"],
        ["job", "train-2", "has", "not", "ended"],
    ]


def test_one_unknown_price_makes_the_sum_unknown(run: Run, running: Cloud) -> None:
    with opened(open_project()) as site:
        there(
            running,
            f"{site.workspace}/onlineEndpoints/{site.names.endpoint}/deployments/green",
            properties={"instanceType": "Standard_NC48ads_A100_v4"},
            sku={"name": "Default", "capacity": 1},
        )
    assert json.loads(run("status", "--json").stdout)["hourly"]["amount"] is None
    assert "? USD/hour" in run("status").stdout.splitlines()[-1]


def test_down_takes_the_endpoints_with_the_workspace_only_where_that_is_ours(
    run: Run, running: Cloud
) -> None:
    result = run("down", "--yes", "books")
    assert [line.split()[1:] for line in result.stderr.splitlines() if line[:4] == "  - "] == [
        ["endpoint", "hieno-zasnot"]
    ]
    assert result.exit_code == 0


def test_autoscale_rules_show_their_bounds_and_go_also_without_their_endpoint(
    run: Run, running: Cloud
) -> None:
    with opened(open_project()) as site:
        endpoint = f"{site.workspace}/onlineEndpoints/{site.names.endpoint}"
        bounds = {"minimum": "1", "default": "1", "maximum": "3"}
        rules = {
            "targetResourceUri": f"{endpoint}/deployments/blue",
            "enabled": True,
            "profiles": [{"name": "by load", "capacity": bounds, "rules": []}],
        }
        there(running, site.id(scaling.TYPE, "blue"), tags=site.tags, properties=rules)
        there(running, site.id(scaling.TYPE, "other"), tags={}, properties=rules)
        shown = run("status").stdout
        assert "1 x Standard_E4s_v3, succeeded, 1 to 3 by load, not asked since" in shown
        assert "autoscale" not in shown
        site.arm.remove(endpoint, "2025-12-01")
    result = run("down", "--yes", "books")
    assert [line.split()[1:] for line in result.stderr.splitlines() if line[:4] == "  - "] == [
        ["autoscale", "rules", "blue"]
    ]
    assert [one.id.name for one in running.resources.of_type(scaling.TYPE)] == ["other"]


@pytest.mark.usefixtures("running")
def test_the_most_instances_are_counted_by_quota_and_prices(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIENO_AZURE_ENDPOINT_SCALE_MAX_INSTANCES", "3")
    # three instances and a fifth more, rounded up to whole ones, of four cores
    assert "blue 16, green 16" in quota_line(run)[1]
    with opened(open_project()) as site:
        costs = {one.what: one.price.amount for one in plan.costs(site, Prices("eastus2", "USD"))}
    most, least = costs["under load, 3 x Standard_E4s_v3"], costs["1 x Standard_E4s_v3"]
    assert least
    assert most == pytest.approx(3 * least)
