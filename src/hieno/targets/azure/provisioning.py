"""Bring the project's resources on Azure to the described state."""

from __future__ import annotations

from collections.abc import Callable

from hieno.project import Project
from hieno.targets.azure import namesakes, plan, providers, roles, stack, template
from hieno.targets.azure.failures import explained
from hieno.targets.azure.names import Names
from hieno.targets.azure.site import Site, opened

GROUPS = "2025-04-01"

Say = Callable[[str], None]


def ensure(project: Project, say: Say) -> Names:
    """Make what is missing, after saying what that is; return the names."""
    with opened(project) as site:
        made = plan.make(site)
        for line in plan.lines(made):
            say(line)
        if made.is_needed:
            up(site, say)
        return site.names


def present(project: Project) -> bool:
    """Tell whether everything was made; a stack that failed half-way was not."""
    with opened(project) as site:
        found = stack.find(site)
        return found is not None and stack.state(found) == "succeeded"


def up(site: Site, say: Say) -> None:
    """Apply the template; what is there already is kept, and nothing is made twice.

    Interrupted or failed, the same call goes on from what is there.
    """
    names = site.names
    with explained(f"making the resource group {names.resource_group}"):
        _ensure_group(site)
    providers.register(site, say)
    rendered = template.render(site.config, recover_vault=namesakes.ours_is_deleted(site))
    body = {
        "properties": {
            "template": rendered,
            "parameters": template.parameters(site.config, names),
            "actionOnUnmanage": {
                "resources": "delete",
                "resourceGroups": "detach",
                "managementGroups": "detach",
            },
            "denySettings": {"mode": "none"},
        },
        "tags": site.tags,
    }
    say(f"making {len(rendered['resources'])} resources; this takes some minutes")
    stack.wait(site)
    with explained(f"making the stack {names.stack}"):
        made = site.arm.stacks.deployment_stacks.begin_create_or_update_at_resource_group(
            names.resource_group, names.stack, body
        ).result()
    stack.require_success(made)
    roles.give_caller(site, say)
    say(f"{names.workspace} is ready in {site.config.azure.location}")


def _ensure_group(site: Site) -> None:
    if site.arm.find(site.group, GROUPS) is None:
        site.arm.resources.resource_groups.create_or_update(
            site.names.resource_group, {"location": site.config.azure.location, "tags": site.tags}
        )
