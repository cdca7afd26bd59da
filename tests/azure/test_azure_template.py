"""The ARM template: what it holds, what is brought, and who gives the roles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hieno.config import load
from hieno.targets.azure import names as naming
from hieno.targets.azure import template

GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/team/providers"
STORAGE = f"{GROUP}/Microsoft.Storage/storageAccounts/ours"
WORKSPACE = f"{GROUP}/Microsoft.MachineLearningServices/workspaces/ours"
IDENTITY = f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/ours"


def rendered(**flags: Any) -> dict[str, Any]:
    return template.render(load(None, flags=flags, environment={}).config)


def kept(**flags: Any) -> set[str]:
    return set(rendered(**flags)["resources"])


ROLES = {"endpointReadsModels", "endpointPullsImages", "jobsWriteData", "jobsPullImages"}
THINGS = {
    *("storage", "vault", "logs", "insights", "registry", "identity", "jobsIdentity"),
    *("workspace", "cluster"),
}


def test_contributor_is_given_on_request_only() -> None:
    assert kept() == THINGS | ROLES
    assert kept(**{"azure.contributor": True}) == THINGS | ROLES | {"endpointContributes"}


def test_without_the_right_to_give_roles_there_are_none_in_it() -> None:
    assert kept(**{"azure.assign_roles": False, "azure.contributor": True}) == THINGS


def test_a_brought_account_is_used_and_its_roles_are_its_owners() -> None:
    made = rendered(**{"azure.bring.storage": STORAGE})
    assert set(made["resources"]) == THINGS - {"storage"} | {
        "endpointPullsImages",
        "jobsPullImages",
    }
    assert made["variables"]["storageId"] == STORAGE
    assert made["resources"]["workspace"]["dependsOn"] == ["vault", "insights", "registry"]


def test_a_brought_workspace_brings_all_that_it_stands_on() -> None:
    made = rendered(**{"azure.bring.workspace": WORKSPACE})
    assert set(made["resources"]) == {"identity", "jobsIdentity", "cluster"}
    assert made["resources"]["cluster"]["dependsOn"] == ["jobsIdentity"]


def test_a_brought_identity_stands_for_both_and_gets_no_role_from_us() -> None:
    made = rendered(**{"azure.bring.identity": IDENTITY})
    assert set(made["resources"]) == THINGS - {"identity", "jobsIdentity"}
    assert made["variables"]["identityId"] == made["variables"]["jobsIdentityId"] == IDENTITY


def test_no_key_opens_the_data_and_no_machine_waits() -> None:
    resources = rendered()["resources"]
    assert resources["storage"]["properties"]["allowSharedKeyAccess"] is False
    assert resources["registry"]["properties"]["adminUserEnabled"] is False
    scale = resources["cluster"]["properties"]["properties"]["scaleSettings"]
    assert scale["minNodeCount"] == 0


def test_every_parameter_has_a_value_and_every_value_a_parameter() -> None:
    config = load(None, environment={}).config
    values = template.parameters(config, naming.derive(config, "0"))
    assert set(values) == set(template.render(config)["parameters"])


@pytest.mark.usefixtures("cloud", "project")
def test_the_template_and_its_parameters_are_printed_for_other_tools(
    run: Callable[..., Result],
) -> None:
    made = json.loads(run("template").stdout)
    assert made["languageVersion"] == "2.0"
    given = json.loads(run("template", "--parameters").stdout)
    assert given["parameters"]["clusterSize"] == {"value": "Standard_E16s_v3"}
    assert set(given["parameters"]) == set(made["parameters"])


def test_the_template_is_in_the_wheel() -> None:
    patterns = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"**/*.json"' in patterns
    assert template.FILE.is_file()
