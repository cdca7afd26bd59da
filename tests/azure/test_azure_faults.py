"""What goes wrong on the way up and down: it ends right, or with one clear message, and goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from emulator.cloud import Cloud
from emulator.settings import Settings
from hieno.project import open_project
from hieno.targets.azure import roles, stack, template
from hieno.targets.azure.site import opened

Run = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("blobs", "project")

STACK = "PUT:*/deploymentStacks/*"

SLOW = pytest.mark.slow  # the campaign; the default run takes one of each kind

# What Azure's own clients get over by themselves.
PASSING = [
    pytest.param(f"throttle at={STACK} retry_after=1"),
    pytest.param(f"unavailable at={STACK} times=2", marks=SLOW),
    pytest.param("throttle at=*/operationStatuses/* retry_after=1", marks=SLOW),
    pytest.param("slow at=*deploymentStacks* polls=3", marks=SLOW),
    pytest.param("unavailable at=GET:*/roleAssignments", marks=SLOW),
]
# What is told, and what the same command then gets over.
STOPPING = [
    pytest.param(f"conflict at={STACK}", 3, "Azure is busy while making the stack hieno-books"),
    pytest.param(
        "fail-operation at=*storageAccounts* code=Busy message=later", 2, "Busy: later", marks=SLOW
    ),
    pytest.param(
        f"missing-role at={STACK}", 2, "Azure refused making the stack hieno-books", marks=SLOW
    ),
    pytest.param(
        "missing-role at=PUT:*/roleAssignments/*",
        2,
        "giving you the role Storage Blob Data",
        marks=SLOW,
    ),
    pytest.param(
        "missing-role at=GET:*/deletedVaults", 2, "looking for removed key vaults", marks=SLOW
    ),
]


def whole(cloud: Cloud) -> None:
    """Everything is there, and nothing twice."""
    found = cloud.resources.within(f"{cloud.subscription}/resourceGroups/rg-books")
    kinds = Counter(one.id.type.partition("/")[2] for one in found)
    once = ("storageAccounts", "vaults", "registries", "components", "workspaces/computes")
    assert {kind: kinds[kind] for kind in once} == dict.fromkeys(once, 1)
    assert (kinds["workspaces"], kinds["userAssignedIdentities"]) == (2, 2)  # with Log Analytics
    assert kinds["roleAssignments"] == 5


@pytest.mark.slow
def test_the_role_that_up_gives_is_waited_for(
    run: Run, emulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "SECONDS", 0.01)
    with emulated(Settings(caller_roles=("Owner",))) as cloud:
        cloud.faults.add("late-role at='*/Storage Blob Data Contributor' times=2")
        result = run("up")
        assert result.exit_code == 0, result.stderr
        assert len(cloud.faults.met()) == 2
        waiting = "waiting until the storage account knows that role; this may take minutes"
        assert result.stderr.count(waiting) == 1
        whole(cloud)


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_got_over(run: Run, emulated: Any, fault: str) -> None:
    with emulated(Settings(caller_roles=("Owner",))) as cloud:
        cloud.faults.add(fault)
        result = run("up")
        assert result.exit_code == 0, result.stderr
        assert cloud.faults.met()
        whole(cloud)
        cloud.faults.add(fault.replace("PUT:", "DELETE:"))
        assert run("down", "--yes", "books").exit_code == 0
        assert not cloud.ledger.running()


@pytest.mark.parametrize(("fault", "code", "words"), STOPPING)
def test_a_fault_that_stays_is_one_message_and_the_same_command_goes_on(
    run: Run, emulated: Any, fault: str, code: int, words: str
) -> None:
    with emulated(Settings(caller_roles=("Owner",))) as cloud:
        cloud.faults.add(fault)
        stopped = run("up")
        *_, error, hint = stopped.stderr.splitlines()
        assert stopped.exit_code == code, stopped.stderr
        assert error.startswith("error: ")
        assert words in error
        assert hint.startswith("hint: ")
        assert cloud.faults.met()
        again = run("up")
        assert again.exit_code == 0, again.stderr
        whole(cloud)
        assert not cloud.ledger.by_the_hour()


@pytest.mark.slow
def test_a_part_that_cannot_be_made_is_named_and_the_rest_is_kept(run: Run, emulated: Any) -> None:
    with emulated(Settings(caller_roles=("Owner",))) as cloud:
        stopped = run("up", "--cluster-size", "Standard_NC99s_v9")
        assert stopped.exit_code == 2, stopped.stderr
        assert "The size Standard_NC99s_v9 is not available" in stopped.stderr
        assert "~ " not in run("plan").stdout
        assert run("up").exit_code == 0
        whole(cloud)


@pytest.mark.slow
def test_a_stack_that_never_ends_is_not_waited_for_for_ever(
    run: Run, emulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "WAIT", 0.0)
    with emulated(Settings(caller_roles=("Owner",))) as cloud:
        assert run("up").exit_code == 0
        kept = next(
            one
            for one in cloud.resources.within(f"{cloud.subscription}/resourceGroups/rg-books")
            if one.id.type.endswith("deploymentStacks")
        )
        kept.properties["provisioningState"] = "deploying"
        stopped = run("down", "--yes", "books")
        assert stopped.exit_code == 3
        assert "the stack hieno-books has been deploying for too long" in stopped.stderr


def test_a_stack_that_is_still_being_made_is_waited_for(
    run: Run, project: Path, emulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "SECONDS", 0.05)
    with emulated(Settings(caller_roles=("Owner",))) as cloud:
        cloud.faults.add("slow at=*deploymentStacks* polls=3")
        opened_project = open_project(project)
        with opened(opened_project) as site:
            site.arm.resources.resource_groups.create_or_update("rg-books", {"location": "eastus2"})
            config = opened_project.config
            properties = {
                "template": template.render(config),
                "parameters": template.parameters(config, site.names),
                "actionOnUnmanage": {"resources": "delete"},
                "denySettings": {"mode": "none"},
            }
            site.arm.stacks.deployment_stacks.begin_create_or_update_at_resource_group(
                "rg-books", site.names.stack, {"properties": properties}, polling=False
            )  # and whoever began it is gone
        result = run("up")
        assert result.exit_code == 0, result.stderr
        whole(cloud)
