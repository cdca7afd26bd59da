"""Model versions in the workspace: the truth about them, with digests, card and alias as tags.

An alias is a tag with the time at which it was given, so that giving one is a single write and
the newest wins. What `.hieno/registry` holds is a copy, brought up to date before it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # entities of a library that is imported late

from hieno.errors import BrokenArtifact, MissingInput, TryLater, UserError
from hieno.files import now, read_json, read_manifest, verify, write_json
from hieno.project import Project
from hieno.registry import versions
from hieno.registry.versions import ModelVersion
from hieno.reporting import Reporter
from hieno.seal import is_intact
from hieno.targets.azure import assets, jobs
from hieno.targets.azure.client import Workspace
from hieno.targets.azure.failures import explained

DIGEST, ALIAS, SINCE = "hieno.digest", "hieno.alias", "hieno.since"
LONGEST_CARD = 4000  # characters of a description


@dataclass(frozen=True)
class Registered:
    """A version as the workspace has it."""

    number: int
    digest: str
    alias: str
    since: str


def refresh(project: Project, workspace: Workspace) -> None:
    """Bring the copy of the registry up to date; what is registered here alone stays.

    Raises `UserError` where a number means one model here and another one there.
    """
    with explained("reading the model versions"):
        found = registered(project, workspace)
        for one in found:
            _copy(project, workspace, one)
    for alias in ("challenger", "champion"):
        named = [(one.since, one.number) for one in found if one.alias == alias]
        if named and versions.aliases(project.registry).get(alias) != max(named)[1]:
            versions.set_alias(project.registry, alias, max(named)[1])


def registered(project: Project, workspace: Workspace) -> list[Registered]:
    """Return the project's versions in the workspace."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        models = list(workspace.ml.models.list(name=project.config.name))
    except ResourceNotFoundError:
        return []
    return [
        Registered(int(model.version), tags[DIGEST], tags.get(ALIAS, ""), tags.get(SINCE, ""))
        for model in models
        if DIGEST in (tags := model.tags or {}) and str(model.version).isdecimal()
    ]


def publish(project: Project, workspace: Workspace, number: int, reporter: Reporter) -> None:
    """Show a version of the copy in the workspace, with the alias that it has here; idempotent.

    Raises `TryLater`, and forgets the version here, where somebody else took its number.
    """
    version = versions.find(project.registry, str(number))
    aliases = versions.aliases(project.registry)
    alias = next((name for name, given in aliases.items() if given == number), "")
    with explained(f"registering version {number}"):
        model = find(workspace, version)
        if model is None:
            _create(project, workspace, version, alias, reporter)
        elif model.tags.get(DIGEST) != version.digest:
            versions.path_of(project.registry, number).unlink()
            raise TryLater(
                f"version {number} has just been registered by somebody else",
                hint="type the same command again: it takes the next number",
            )
        elif alias and model.tags.get(ALIAS) != alias:
            model.tags = {**model.tags, ALIAS: alias, SINCE: now()}
            workspace.ml.models.create_or_update(model)


def find(workspace: Workspace, version: ModelVersion) -> Any | None:
    """Return the model of that name and number in the workspace, if there is one."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return workspace.ml.models.get(version.name, str(version.version))
    except ResourceNotFoundError:
        return None


def is_here(version: ModelVersion) -> bool:
    """Tell whether a version's package is on this machine with its weights."""
    folder = Path(version.package)
    manifest = read_manifest(folder)
    return manifest is not None and assets.is_whole(folder, manifest)


def pull(workspace: Workspace, version: ModelVersion) -> Path:
    """Fetch a version's package with its weights, and verify it."""
    folder = Path(version.package)
    if not is_here(version):
        with explained(f"fetching version {version.version}"):
            workspace.store.get_folder(_place(workspace, version), folder)
    if verify(folder).digest != version.digest:
        raise BrokenArtifact(
            f"{folder} is not the package that was registered as version {version.version}",
            hint="delete that folder, then type the same command again",
        )
    return folder


def _place(workspace: Workspace, version: ModelVersion) -> str:
    """Return where a version's package lies in the store."""
    store = workspace.store
    for place in (store.place(Path(version.package)), f"hieno/content/{version.digest}"):
        found = store.manifest(place)
        if found is not None and found.digest == version.digest:
            return place
    raise MissingInput(
        f"the package of version {version.version} is not in the workspace's storage",
        hint="`hieno up` makes it again",
    )


def _copy(project: Project, workspace: Workspace, one: Registered) -> None:
    path = versions.path_of(project.registry, one.number)
    if path.is_file():
        if read_json(path)["digest"] != one.digest:
            raise UserError(
                f"version {one.number} is another model in the workspace than here",
                hint=f"move {path} away, or give the project another name",
            )
        return
    document = workspace.store.read_json(_document(workspace, one.number, one.digest))
    if document is None or not is_intact(document):
        raise BrokenArtifact(
            f"the lineage of version {one.number} in the workspace's storage is not whole",
            hint="archive that model version in Azure ML studio, then register it anew",
        )
    write_json(path, document)


def _document(workspace: Workspace, number: int, digest: str) -> str:
    store = workspace.store
    return f"hieno/{store.project}/registry/versions/{number}-{digest[:12]}.json"


def _create(
    project: Project, workspace: Workspace, version: ModelVersion, alias: str, reporter: Reporter
) -> None:
    from azure.ai.ml.entities import Model

    store, folder = workspace.store, Path(version.package)
    place = assets.place(folder, store, reporter)
    made_by = jobs.completed(workspace, "package", version.lineage["package"]["key"])
    made_there = made_by is not None and place == store.place(folder)
    store.write_json(
        _document(workspace, version.version, version.digest),
        read_json(versions.path_of(project.registry, version.version)),
    )
    workspace.ml.models.create_or_update(
        Model(
            name=version.name,
            version=str(version.version),
            type="custom_model",
            path=f"azureml://jobs/{made_by}/outputs/result" if made_there else store.uri(place),
            description=(folder / "README.md").read_text(encoding="utf-8")[:LONGEST_CARD],
            tags=_tags(version, alias),
        )
    )


def _tags(version: ModelVersion, alias: str) -> Mapping[str, str]:
    lineage = version.lineage
    gate = lineage["gate"]
    tags = {
        DIGEST: version.digest,
        "hieno.project": version.name,
        "hieno.gate": "passed" if gate["passed"] else "waived" if gate["waiver"] else "refused",
        **{
            f"hieno.{role}": lineage[role]["digest"]
            for role in ("run", "dataset", "base", "evaluation")
        },
    }
    return {**tags, ALIAS: alias, SINCE: now()} if alias else tags
