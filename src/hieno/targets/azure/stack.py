"""The deployment stack: what Azure knows of everything that we made for the project."""

from __future__ import annotations

import time
from typing import Any  # a stack of Azure's client

from hieno.errors import Busy, HienoError
from hieno.targets.azure.failures import explained, reason
from hieno.targets.azure.site import Site

ENDED = ("succeeded", "failed", "canceled")
WAIT = 1800.0  # a workspace takes minutes; nothing of ours takes half an hour
SECONDS = 5.0  # between two looks at a stack that somebody else is changing


def find(site: Site) -> Any | None:
    """Return the project's stack, or None where there is none."""
    from azure.core.exceptions import ResourceNotFoundError

    with explained(f"looking for the stack {site.names.stack}"):
        try:
            return site.arm.stacks.deployment_stacks.get_at_resource_group(
                site.names.resource_group, site.names.stack
            )
        except ResourceNotFoundError:
            return None


def state(stack: Any) -> str:
    """Return how far a stack is, such as succeeded, failed or deploying."""
    found = stack.properties.provisioning_state
    return str(getattr(found, "value", found)).lower()


def managed(stack: Any) -> list[str]:
    """Return the ids of what a stack made, in its own order."""
    found = list(getattr(stack.properties, "resources", None) or ())
    return [str(one.id) for one in found]


def wait(site: Site) -> Any | None:
    """Wait for a change that began before, by another command or one that was interrupted.

    Raises `Busy` where it does not end.
    """
    deadline = time.monotonic() + WAIT
    while (stack := find(site)) is not None and state(stack) not in ENDED:
        if time.monotonic() > deadline:
            raise Busy(
                f"the stack {site.names.stack} has been {state(stack)} for too long",
                hint="look at it in the portal under the resource group's deployment stacks, or "
                "type the same command later",
            )
        time.sleep(SECONDS)
    return stack


def require_success(stack: Any) -> None:
    """Raise `HienoError` with the parts that failed and why, unless everything was made."""
    if state(stack) == "succeeded":
        return
    failed = [str(one.id).rpartition("/")[2] for one in stack.properties.failed_resources or ()]
    why = reason(stack.properties) if stack.properties.error else "Azure gives no reason"
    raise HienoError(
        f"the stack {stack.name} is not whole ({', '.join(failed) or 'unknown part'}): {why}",
        hint="`hieno azure doctor` looks for the cause; `hieno azure up` goes on from there",
    )
