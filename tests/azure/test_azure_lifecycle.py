"""plan, up, status and down of what the project has on Azure, through Azure's own clients."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from emulator.arm.ids import ResourceId
from emulator.arm.lifecycle import apply
from emulator.cloud import Cloud
from emulator.contract import deviations
from emulator.settings import Settings
from hieno.files import published
from hieno.project import open_project
from hieno.registry import versions

Run = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("blobs")


@pytest.fixture
def azure(emulated: Any) -> Iterator[Cloud]:
    """A cloud of its own, whose calls all keep to the published types."""
    with emulated(Settings(caller_roles=("Owner",))) as cloud:
        yield cloud
        assert deviations(cloud) == []


def planned(run: Run, *words: str) -> dict[str, Any]:
    result = run("plan", "--json", *words)
    assert (result.stderr, result.exit_code) == ("", 0)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def moving(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (one["action"], one["kind"], one["name"])
        for one in document["changes"]
        if one["action"] != "keep"
    ]


def kinds_in(cloud: Cloud) -> list[str]:
    listed = cloud.resources.within(f"{cloud.subscription}/resourceGroups/rg-books")
    return sorted(one.id.type.rpartition("/")[2] for one in listed)


def written(cloud: Cloud, since: int = 0) -> list[str]:
    return [
        f"{one.method} {one.path}"
        for one in cloud.trace.exchanges[since:]
        if one.method in ("PUT", "PATCH", "DELETE") and "management" in one.host
    ]


def test_up_makes_what_was_planned_and_nothing_twice_and_down_leaves_nothing(
    run: Run, project: Path, azure: Cloud
) -> None:
    assert not written(azure)
    first = planned(run)
    assert not written(azure)
    assert first["state"] == "missing"
    assert {action for action, _, _ in moving(first)} == {"make"}

    result = run("up")
    assert result.exit_code == 0, result.stderr
    assert "  + workspace             mlw-books-" in result.stderr
    assert result.stderr.splitlines()[-1].endswith(" is ready in eastus2")
    made = kinds_in(azure)
    assert made.count("roleAssignments") == 5

    calls = len(azure.trace.exchanges)
    again = run("up")
    assert "nothing to do" in again.stderr
    assert not written(azure, calls)
    assert kinds_in(azure) == made

    status = json.loads(run("status", "--json").stdout)
    assert {one["kind"] for one in status["items"]} == {
        *("storage account", "container registry", "key vault", "Log Analytics")
    }
    assert status["hourly"] is None
    assert not azure.ledger.by_the_hour()

    refused = run("down")
    assert (refused.exit_code, refused.stderr.splitlines()[-2:]) == (
        2,
        [
            "error: nothing was removed: the project's name was not given",
            "hint: `hieno azure down --yes books`",
        ],
    )
    assert kinds_in(azure) == made
    gone = run("down", "--yes", "books")
    assert (gone.exit_code, gone.stdout) == (0, "removed 14\n")
    assert kinds_in(azure) == []
    assert azure.resources.get(f"{azure.subscription}/resourceGroups/rg-books") is None
    assert not azure.ledger.running()
    assert run("status").stdout == "nothing is billed in rg-books\n"
    assert run("down", "--yes", "books").stdout == "nothing of this project is there\n"


def test_a_changed_setting_is_planned_as_what_it_changes(
    run: Run, project: Path, azure: Cloud
) -> None:
    assert run("up").exit_code == 0
    drift = planned(run, "--cluster-max-nodes", "3")
    assert [one for one in drift["changes"] if one["action"] != "keep"] == [
        {
            "action": "change",
            "kind": "cluster",
            "name": "e16s-v3-jobs",
            "details": ["properties.properties.scaleSettings.maxNodeCount: 1 -> 3"],
        }
    ]
    other = planned(run, "--cluster-size", "Standard_E8s_v3")
    assert moving(other) == [
        ("make", "cluster", "e8s-v3-jobs"),
        ("remove", "cluster", "e16s-v3-jobs"),
    ]
    assert run("up", "--cluster-size", "Standard_E8s_v3").exit_code == 0
    workspace = f"{azure.subscription}/resourceGroups/rg-books"
    clusters = [one for one in azure.resources.within(workspace) if "computes" in one.id.type]
    assert [one.id.name for one in clusters] == ["e8s-v3-jobs"]


@pytest.mark.slow
def test_what_others_put_beside_it_stays_and_so_does_the_group(
    run: Run, project: Path, azure: Cloud
) -> None:
    assert run("up").exit_code == 0
    theirs = (
        f"{azure.subscription}/resourceGroups/rg-books/providers"
        "/Microsoft.Storage/storageAccounts/theirdata"
    )
    body = {"location": "eastus2", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
    made = apply(azure, ResourceId(theirs), body)
    assert made.operation is not None
    made.operation.wait()
    listed = run("status").stdout
    assert "storage account     theirdata" in listed
    gone = run("down", "--yes", "books")
    assert "resource group" not in gone.stderr
    assert kinds_in(azure) == ["storageAccounts"]


@pytest.mark.slow
def test_a_removed_project_comes_back_after_a_purge_and_is_told_so_before(
    run: Run, project: Path, azure: Cloud
) -> None:
    assert run("up").exit_code == 0
    assert run("down", "--yes", "books").exit_code == 0
    looked = json.loads(run("doctor", "--json").stdout)
    [held] = [one["text"] for one in looked["findings"] if one["state"] == "fail"]
    assert held.startswith("the workspace mlw-books-zasnot was removed with its key vault on ")
    soft = run("up")
    assert soft.exit_code == 2
    assert soft.stderr.splitlines()[-1].startswith("hint: `hieno azure down --purge` gives the")
    assert run("down", "--yes", "books", "--purge").exit_code == 0
    assert azure.retained == {}
    assert json.loads(run("doctor", "--json").stdout)["ok"]
    assert run("up").exit_code == 0


def test_a_champion_that_is_on_azure_only_stops_down(run: Run, project: Path, azure: Cloud) -> None:
    opened = open_project(project)
    package = opened.packages / "abc"
    with published(package, kind="package", key="abc") as (folder, _facts):
        (folder / "weights.bin").write_bytes(b"weights")
    one = versions.add(opened.registry, name="books", package=package, digest="d", lineage={})
    versions.set_alias(opened.registry, "champion", one.version)
    assert run("up").exit_code == 0
    (package / "weights.bin").unlink()
    refused = run("down", "--yes", "books")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines() == [
        "error: version 1, the champion, exists on Azure only",
        "hint: `hieno models pull 1` brings it here; then type this again",
    ]
    assert "workspaces" in kinds_in(azure)
    (package / "weights.bin").write_bytes(b"weights")
    assert run("down", "--yes", "books").exit_code == 0


@pytest.mark.slow
def test_a_brought_workspace_is_used_and_stays(run: Run, project: Path, azure: Cloud) -> None:
    assert run("up").exit_code == 0
    workspace = next(
        one.id.text
        for one in azure.resources.within(f"{azure.subscription}/resourceGroups/rg-books")
        if one.id.type == "Microsoft.MachineLearningServices/workspaces"
    )
    text = (
        f"name: second\nmodel: demo\nazure:\n  preset: cpu\n  bring:\n    workspace: {workspace}\n"
    )
    (project / "hieno.yaml").write_text(text, encoding="utf-8")
    before = kinds_in(azure)
    assert run("up", "--cluster-size", "Standard_E8s_v3").exit_code == 0
    more = kinds_in(azure)
    for kind in ("computes", "deploymentStacks", "userAssignedIdentities"):
        assert more.count(kind) == 2 * before.count(kind)
    assert more.count("workspaces") == before.count("workspaces")
    roles = [
        one
        for one in json.loads(run("doctor", "--json").stdout)["findings"]
        if one["name"] == "identities"
    ]
    assert {one["state"] for one in roles} == {"fail"}
    assert "an administrator types: az role assignment create" in roles[0]["remedy"]
    gone = run("down", "--yes", "second", "--cluster-size", "Standard_E8s_v3")
    assert gone.exit_code == 0, gone.stderr
    assert kinds_in(azure) == before
