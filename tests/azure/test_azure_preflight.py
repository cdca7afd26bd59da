"""`hieno azure doctor`: each thing that could stop the project, and what to type against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource
from emulator.cloud import Cloud
from emulator.settings import Settings
from hieno.project import open_project
from hieno.targets.azure.site import opened

Run = Callable[..., Result]
A100 = "standardNCADSA100v4Family"


def looked(run: Run, *words: str) -> dict[str, Any]:
    result = run("doctor", "--json", *words)
    assert result.stderr == ""
    document: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if document["ok"] else 2)
    return document


def finding(document: dict[str, Any], name: str) -> tuple[str, str, str]:
    found = next(one for one in document["findings"] if one["name"] == name)
    return found["state"], found["text"], found["remedy"]


@pytest.mark.usefixtures("project", "cloud")
def test_where_nothing_is_wrong_the_verdict_says_so(run: Run) -> None:
    result = run("doctor")
    assert result.exit_code == 0
    *lines, verdict = result.stdout.splitlines()
    assert {line[:4] for line in lines} == {"ok  "}
    assert verdict == "ready: nothing stops this project on Azure"


@pytest.mark.usefixtures("project", "cloud")
def test_the_cluster_and_two_versions_are_counted_together_with_the_endpoints_reserve(
    run: Run,
) -> None:
    document = looked(run)
    assert finding(document, "quota") == (
        "ok",
        "standardESv3Family: 32 cores needed (cluster 16, blue 8, green 8), 0 used by others, "
        "limit 100",
        "",
    )
    exempt = looked(run, "--preset", "gpu", "--cluster-size", "Standard_E16s_v3")
    quotas = [one["text"] for one in exempt["findings"] if one["name"] == "quota"]
    assert f"{A100}: 48 cores needed (blue 24, green 24), 0 used by others, limit 48" in quotas


@pytest.mark.usefixtures("project", "cloud")
def test_low_priority_is_a_quota_of_its_own(run: Run) -> None:
    document = looked(run, "--cluster-low-priority", "--cluster-max-nodes", "3")
    quotas = [one["text"] for one in document["findings"] if one["name"] == "quota"]
    assert quotas[0] == (
        "TotalLowPriorityCores: 48 cores needed (cluster 48), 0 used by others, limit 100"
    )


@pytest.mark.usefixtures("project", "cloud")
def test_a_second_version_without_room_warns_with_three_choices(run: Run) -> None:
    document = looked(run, "--preset", "gpu")
    state, text, remedy = finding(document, "quota")
    assert state == "warn"
    assert text.endswith("limit 48: no room for the second version")
    assert remedy.startswith("`hieno azure doctor --request-quota` asks for 72; or ")
    assert remedy.endswith("`hieno deploy --replace` serves one version at a time, with a gap")
    assert document["verdict"] == "ready, with a warning: quota"


@pytest.mark.usefixtures("project", "cloud")
def test_no_quota_fails_and_names_sizes_with_room(run: Run) -> None:
    document = looked(run, "--cluster-size", "Standard_NC6s_v3")
    state, text, remedy = finding(document, "quota")
    assert state == "fail"
    assert text == (
        "standardNCSv3Family: 6 cores needed (cluster 6), 0 used by others, limit 0: 6 short"
    )
    assert "a size with room: Standard_NC24ads_A100_v4" in remedy
    assert document["verdict"] == "not ready: see to quota"


@pytest.mark.usefixtures("project")
def test_quota_is_asked_for_and_granted_or_refused(run: Run, emulated: Any) -> None:
    short = ("--cluster-size", "Standard_NC6s_v3")
    with emulated() as cloud:
        asked = looked(run, *short, "--request-quota")["requested"]
        assert asked == ["granted: 6 cores of standardNCSv3Family in eastus2"]
        assert looked(run, *short)["ok"]
        assert cloud.quota.limit("eastus2", "standardNCSv3Family") == 6


@pytest.mark.usefixtures("project")
def test_a_refused_request_is_an_error_with_another_way(run: Run, emulated: Any) -> None:
    with emulated(Settings(grants_quota=False)):
        result = run("doctor", "--cluster-size", "Standard_NC6s_v3", "--request-quota")
    assert result.exit_code == 2
    assert "The request for 6 cores of standardNCSv3Family" in result.stderr
    assert "azure doctor" in result.stderr


@pytest.mark.usefixtures("project", "cloud")
@pytest.mark.parametrize(
    ("words", "name", "state", "text"),
    [
        (["--location", "mars"], "region", "fail", "there is no mars"),
        (["--cluster-size", "Standard_X1"], "cluster", "fail", "eastus2 has no Standard_X1"),
        (
            ["--preset", "gpu", "--location", "westeurope"],
            "endpoint",
            "fail",
            "Standard_NC24ads_A100_v4 is closed to you in westeurope (NotAvailableForSubscription)",
        ),
    ],
)
def test_a_region_without_the_machine_is_told(
    run: Run, words: list[str], name: str, state: str, text: str
) -> None:
    found = finding(looked(run, *words), name)
    assert found[:2] == (state, text)
    assert found[2]


@pytest.mark.usefixtures("project")
def test_providers_that_are_not_registered_are_told_with_their_commands(
    run: Run, emulated: Any
) -> None:
    with emulated(Settings(registered=False)):
        state, _, remedy = finding(looked(run), "providers")
    assert state == "warn"
    assert remedy.startswith("az provider register --namespace Microsoft.MachineLearningServices;")


@pytest.mark.usefixtures("project")
def test_who_may_not_give_roles_gets_the_line_for_an_administrator(run: Run, emulated: Any) -> None:
    with emulated(Settings(caller_roles=("Contributor",))) as cloud:
        document = looked(run)
        caller, subscription = cloud.entra.application.id, cloud.subscription
        state, text, remedy = finding(document, "giving roles")
        assert (state, text) == ("fail", "you may not give roles")
        assert remedy.startswith(
            f"an administrator types: az role assignment create --assignee-object-id {caller} "
            "--assignee-principal-type ServicePrincipal "
            f'--role "Role Based Access Control Administrator" --scope {subscription}; or set'
        )
        assert finding(document, "your roles")[0] == "ok"
        assert looked(run, "--no-assign-roles")["ok"]


@pytest.mark.usefixtures("project")
def test_a_reader_is_told_the_role_that_is_missing(run: Run, emulated: Any) -> None:
    with emulated(Settings(caller_roles=("Reader",))):
        state, text, remedy = finding(looked(run), "your roles")
    assert state == "fail"
    assert text.startswith("you may not do Microsoft.Resources/deployments/write, ")
    assert '--role "Contributor"' in remedy


@pytest.mark.usefixtures("cloud")
def test_without_a_sign_in_there_is_one_finding(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    document = looked(run)
    assert [one["name"] for one in document["findings"]] == ["sign-in"]
    assert document["verdict"] == "not ready: see to sign-in"


@pytest.mark.usefixtures("project")
def test_a_workspace_that_was_removed_is_found_before_up_fails_with_what_gives_its_name_free(
    run: Run, emulated: Any
) -> None:
    with emulated() as cloud:
        with opened(open_project()) as site:
            vault = ResourceId(site.id("Microsoft.KeyVault/vaults", site.names.vault))
            workspace = site.names.workspace
        body = {"id": vault.text, "location": "eastus2", "properties": {}}
        cloud.retained[vault.key] = Resource(vault, body)
        document = looked(run)
        found = [one for one in document["findings"] if one["name"] == "names"]
        assert [one["state"] for one in found] == ["ok", "fail"]
        assert found[0]["text"].endswith("was removed and comes back with `hieno azure up`")
        assert found[1]["text"].startswith(f"the workspace {workspace} was removed with its key")
        assert found[1]["remedy"].startswith("`hieno azure down --purge` gives the name free")
        assert document["verdict"] == "not ready: see to names"


@pytest.mark.usefixtures("project")
def test_a_look_that_fails_leaves_the_others_standing(run: Run, emulated: Any) -> None:
    with emulated() as cloud:
        cloud.faults.add("missing-role at=GET:*/usages times=1")
        document = looked(run)
    state, text, _ = finding(document, "quota")
    assert state == "fail"
    assert text.startswith("Azure refused looking for quota in eastus2: ")
    assert finding(document, "names")[0] == "ok"


def test_what_the_doctor_asks_changes_nothing(run: Run, project: Path, cloud: Cloud) -> None:
    looked(run)
    changing = [one for one in cloud.trace.exchanges if one.method in ("PUT", "PATCH", "DELETE")]
    assert changing == []
