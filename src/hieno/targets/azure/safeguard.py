"""What must hold before everything on Azure is taken away."""

from __future__ import annotations

from collections.abc import Callable

from hieno.errors import MissingInput, UsageError, UserError
from hieno.project import Project
from hieno.registry import versions
from hieno.targets.azure import registry
from hieno.targets.azure.client import open_workspace


def require_copy(project: Project) -> None:
    """Raise `UserError` while the champion's weights are in the workspace only.

    Which version that is, the workspace knows, also for somebody who has just cloned the project.
    """
    try:
        workspace = open_workspace(project)
    except MissingInput:
        return  # it was never made whole, so no version is in it
    if workspace is None:
        return  # it is gone, and nothing can be fetched from it
    registry.refresh(project, workspace)
    champion = versions.champion(project.registry)
    if champion is None or registry.is_here(champion):
        return
    raise UserError(
        f"version {champion.version}, the champion, exists on Azure only",
        hint=f"`hieno models pull {champion.version}` brings it here; then type this again",
    )


def require_name(project: Project, given: str | None, *, ask: Callable[[str], str | None]) -> None:
    """Raise `UsageError` unless somebody has written the project's name."""
    name = project.config.name
    if given is None:
        given = ask(f"type the project's name, {name}, to remove all of this")
    if given != name:
        raise UsageError(
            f"nothing was removed: {given!r} is not the project's name"
            if given
            else "nothing was removed: the project's name was not given",
            hint=f"`hieno azure down --yes {name}`",
        )
