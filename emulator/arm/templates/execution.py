"""Making what a template says, for a deployment or a stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any  # Any: JSON

from emulator.arm.errors import ArmError, not_found
from emulator.arm.ids import ResourceId
from emulator.arm.lifecycle import apply
from emulator.arm.templates.scope import Unresolved
from emulator.arm.templates.template import Planned, Template
from emulator.entra import Principal

if TYPE_CHECKING:
    from emulator.cloud import Cloud


@dataclass(frozen=True)
class Templated:
    """A resource that a template sent, and what its service made of it."""

    id: ResourceId
    version: str
    sent: dict[str, Any]
    made: dict[str, Any]


def authorize(cloud: Cloud, caller: Principal | None, template: Template) -> None:
    """Raise 403 with every resource of a template that the caller may not write."""
    refused = [
        f"Authorization failed for template resource '{one.id.name}' of type '{one.id.type}'. The"
        f" client '{caller.name}' with object id '{caller.id}' does not have permission to perform"
        f" action '{one.id.type}/write' at scope '{one.id.text}'."
        for one in template.resources
        if caller and not cloud.roles.permits(caller.id, f"{one.id.type}/write", one.id.text)
    ]
    if refused:
        message = f"Deployment failed with multiple errors: '{':'.join(refused)}'"
        raise ArmError(403, "InvalidTemplateDeployment", message)


def execute(
    cloud: Cloud, template: Template, made: Callable[[Planned], None] = lambda _: None
) -> None:
    """Make every resource, each after those that it waits for; tell `made` of each.

    Raises `ArmError`, wrapped as deployments wrap it, at the first that fails.
    """
    for planned in template.resources:
        try:
            body = _known(planned)
            applied = apply(cloud, planned.id, body)
            made(planned)
            if applied.operation is not None:
                applied.operation.wait()
            shown = applied.resource.shown()
            cloud.templated.append(Templated(planned.id, planned.api_version, body, shown))
        except ArmError as error:
            raise _failed(planned, error) from None


def outputs_of(template: Template) -> dict[str, Any]:
    """Return a template's outputs. Raises 404 where one refers to what is not there."""
    try:
        return template.output_values()
    except Unresolved as missing:
        raise not_found(str(missing)) from None


def _known(planned: Planned) -> dict[str, Any]:
    try:
        return planned.body()
    except Unresolved as missing:
        raise not_found(str(missing)) from None


def _failed(planned: Planned, error: ArmError) -> ArmError:
    detail = {**error.body(), "target": planned.id.text}
    message = (
        "At least one resource deployment operation failed. Please list deployment operations for"
        " details. Please see https://aka.ms/arm-deployment-operations for usage details."
    )
    return ArmError(error.status, "DeploymentFailed", message, details=[detail])
