"""What must hold before everything on Azure is taken away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hieno.errors import UsageError, UserError
from hieno.files import read_manifest
from hieno.project import Project
from hieno.registry import versions


def require_copy(project: Project) -> None:
    """Raise `UserError` while the champion's weights are on Azure only."""
    champion = versions.champion(project.registry)
    if champion is None or is_whole(Path(champion.package)):
        return
    raise UserError(
        f"version {champion.version}, the champion, exists on Azure only",
        hint=f"`hieno models pull {champion.version}` brings it here; then type this again",
    )


def is_whole(package: Path) -> bool:
    """Tell whether a package has all its files here, its weights too."""
    manifest = read_manifest(package)
    return manifest is not None and all((package / name).is_file() for name in manifest.files)


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
