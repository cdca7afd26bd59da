"""The verb: look a version up, refuse to write over what is there, and have it exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # facts are JSON

from hieno.errors import BrokenArtifact, HienoError, UsageError
from hieno.export.formats import choose_weights
from hieno.files import digest_json, read_manifest, verify
from hieno.project import Project, locked
from hieno.registry import versions
from hieno.registry.versions import ModelVersion
from hieno.reporting import Reporter
from hieno.stages import StagePlan
from hieno.targets import open_target

REVISION = 1  # raised when something else is written from the same package


@dataclass(frozen=True)
class Exported:
    """A published export; `made` is False where the same one stood there already."""

    folder: Path
    made: bool
    facts: Mapping[str, Any]


def export(
    project: Project,
    version: str,
    *,
    to: str,
    weights: str | None = None,
    folder: Path | None = None,
    reporter: Reporter,
) -> Exported:
    """Write a model version (a number or an alias) as `to` into a new folder.

    The folder appears whole, after it was opened again and has answered as the package does, or
    not at all. Raises `UsageError` where something else stands there.
    """
    chosen = choose_weights(to, weights)
    found = versions.find(project.registry, version)
    named = f"{found.name}-{found.version}-{to}-{chosen}"
    target = (folder or project.root / "exports" / named).resolve()
    plan = _plan(project, found, to, chosen, target)
    with locked(project):
        if (facts := _standing(target, plan.key)) is not None:
            return Exported(target, False, facts)
        reporter.stage("export")
        _refuse_changed(found)
        open_target(project).submit(plan, reporter)
    made = read_manifest(target)
    if made is None:
        raise HienoError(f"{target} is gone", hint="type the same command again")
    return Exported(target, True, made.facts)


def _plan(
    project: Project, version: ModelVersion, to: str, weights: str, target: Path
) -> StagePlan:
    settings = {
        "format": to,
        "weights": weights,
        "name": version.name,
        "version": version.version,
    }
    digests = {"package": version.digest}
    made_of = {"stage": "export", "revision": REVISION, "inputs": digests, **settings}
    key = digest_json(made_of)
    return StagePlan(
        stage="export",
        key=key,
        output=str(target),
        work=str(project.state / "exports" / f"{key[:12]}.work"),
        inputs={"package": version.package},
        digests=digests,
        settings=settings,
        origin={"made_of": made_of},
    )


def _standing(target: Path, key: str) -> Mapping[str, Any] | None:
    """Return the facts of the same export, None where there is room for it."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    manifest = read_manifest(target)
    if manifest is None or manifest.key != key:
        raise UsageError(
            f"something else is already at {target}",
            hint="name another folder with --folder, or remove that one",
        )
    try:
        return verify(target).facts
    except BrokenArtifact as error:
        raise BrokenArtifact(
            error.message, hint=f"remove {target}, then type the same command again"
        ) from error


def _refuse_changed(version: ModelVersion) -> None:
    manifest = read_manifest(Path(version.package))
    if manifest is None or manifest.digest != version.digest:
        raise BrokenArtifact(
            f"{version.package} is not the package that was registered as version"
            f" {version.version}",
            hint="`hieno up` makes the present one again; other versions can still be exported",
        )
