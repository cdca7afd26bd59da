"""From an answer to everything that it came from: version, package, run, chats, base, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any  # settings are JSON

from hieno import models
from hieno.endpoint.requests import Asked, find_request
from hieno.errors import MissingInput
from hieno.files import read_manifest
from hieno.project import Project
from hieno.registry import chain
from hieno.registry.chain import Folder
from hieno.registry.versions import (
    ModelVersion,
    aliases,
    is_as_registered,
    path_of,
    versions,
)
from hieno.reporting import Reporter

STAGES = {"dataset": "data", "run": "train", "package": "package", "evaluation": "evaluate"}
SHOWN = 3  # files of the user's that are named one by one


@dataclass(frozen=True)
class Link:
    """One link; `problems` are empty where it is what it was, or nobody has looked."""

    role: str
    text: str
    path: str | None = None
    digest: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trace:
    """An answer or a version with what it came from; `config` is each stage's, as resolved then."""

    id: str
    request: Asked | None
    version: int | None
    links: tuple[Link, ...]
    config: Mapping[str, Any]
    verified: bool

    @property
    def problems(self) -> list[str]:
        """Everything that is not what it was, as far as somebody has looked."""
        return [problem for link in self.links for problem in link.problems]

    def as_json(self) -> dict[str, Any]:
        """Return the trace for programs."""
        return {**asdict(self), "whole": not self.problems if self.verified else None}


def trace(project: Project, id: str, *, verify: bool = False, reporter: Reporter) -> Trace:
    """Return what an answer came from.

    `id` is the request id of an answer, a version (`7` or `name:7`) or an alias. `verify` reads
    every file of the chain again. Raises `MissingInput` where nothing of that name is known.
    """
    version = _version(project, id)
    request = None if version else find_request(project.endpoint.parent, id)
    if request and request.version:
        version = _version(project, request.version)
    if version is None and request is None:
        raise MissingInput(
            f"no answer, version or alias {id!r} is known here",
            hint="`hieno logs` shows the newest requests with their ids; the last 10 to 20 MB of "
            "them are kept",
        )
    links = [_asked(request)] if request else []
    config: dict[str, Any] = {}
    if version:
        found = chain.folders(project, version)
        links += _links(project, version, found, verify, reporter)
        config = {STAGES[role]: _settings(found[role]) for role in STAGES}
    elif request and request.version == "base":
        links.append(_base(project))
    elif request and request.version:
        links.append(Link("version", f"{request.version} is not in the registry any more"))
    number = version.version if version else None
    return Trace(id, request, number, tuple(links), config, verify)


def _version(project: Project, id: str) -> ModelVersion | None:
    name, colon, number = id.rpartition(":")
    known = aliases(project.registry)
    wanted = str(known[id]) if id in known else number
    return next(
        (
            version
            for version in versions(project.registry)
            if str(version.version) == wanted and (not colon or version.name == name)
        ),
        None,
    )


def _links(
    project: Project,
    version: ModelVersion,
    found: Mapping[str, Folder],
    verify: bool,
    reporter: Reporter,
) -> Iterator[Link]:
    yield _registered(project, version, verify)
    for number, (role, folder) in enumerate(found.items()):
        if verify:
            reporter.progress(number, len(found), "folders", f"reading the {role} again")
        problems = tuple(chain.broken_folder(folder, found)) if verify else ()
        path = str(folder.path) if folder.path else None
        yield Link(role, _describe(folder), path, folder.digest, problems)
        if role in STAGES:
            yield from _sources(project, folder, verify)
    yield Link("config", _unusual(found))
    yield Link("code", _code(found))


def _registered(project: Project, version: ModelVersion, verify: bool) -> Link:
    names = [
        name for name, number in aliases(project.registry).items() if number == version.version
    ]
    called = f" ({', '.join(names)})" if names else ""
    path = path_of(project.registry, version.version)
    changed = verify and not is_as_registered(project.registry, version.version)
    return Link(
        "version",
        f"{version.name} {version.version}{called}, registered {version.created}",
        str(path),
        version.digest,
        (f"{path} is not what was registered",) if changed else (),
    )


def _asked(request: Asked) -> Link:
    by = f" by {request.deployment} of {request.endpoint}" if request.deployment else ""
    text = (
        f"{request.method} {request.path}, {request.status} in {request.milliseconds} ms{by},"
        f" {request.time}"
    )
    if not request.deployment:
        text += "; no model saw it"
    elif not request.version:
        text += "; the log does not say which version answered"
    if request.times > 1:
        text += f"; the newest of {request.times} with this id"
    return Link("request", text)


def _base(project: Project) -> Link:
    config = project.config
    root = models.find(config.model, revision=config.revision, folder=project.root)
    manifest = read_manifest(root) if root else None
    digest = manifest.digest if manifest else None
    return Link("base", f"the untuned model {config.model}", str(root) if root else None, digest)


def _describe(folder: Folder) -> str:
    if folder.manifest is None:
        return "not here any more"
    facts = folder.manifest.facts
    if folder.role == "dataset":
        rows = facts["rows"]
        return f"{rows['train']} chats to learn, {rows['test']} held out, {rows['replay']} replayed"
    if folder.role == "run":
        return f"{facts['steps']} steps in {facts['dtype']}, made {folder.manifest.created}"
    if folder.role == "base":
        return f"{facts.get('source', '?')} at {facts.get('revision') or '?'}"
    if folder.role == "evaluation":
        return "the report on it"
    weights = f" with {facts['weights']} weights" if facts.get("weights") else ""
    return f"for {facts['engine']}{weights}"


def _sources(project: Project, folder: Folder, verify: bool) -> Iterator[Link]:
    if hub := folder.made_of.get("hub"):
        yield Link("source", f"hf:{hub['name']} {hub['split']} at {hub['revision'] or '?'}")
    read = chain.sources(project, folder)
    if not read:
        return
    names = [source.shown for source in read[:SHOWN]]
    more = f" and {len(read) - SHOWN} more" if len(read) > SHOWN else ""
    problems = [p for source in read for p in chain.broken_source(source)] if verify else []
    yield Link("source", ", ".join(names) + more, problems=tuple(problems))


def _settings(folder: Folder) -> dict[str, Any]:
    return {
        name: value
        for name, value in folder.made_of.items()
        if name not in ("stage", "revision", "inputs", "files")
    }


def _unusual(found: Mapping[str, Folder]) -> str:
    """Name the settings that are not the defaults."""
    from hieno.config import Config

    usual = Config().model_dump()
    parts = []
    for role, stage in STAGES.items():
        for key, value in _settings(found[role]).get(stage, {}).items():
            if value != usual[stage].get(key, value):
                parts.append(f"{stage}.{key} {value}")
    return ", ".join(parts) or "the defaults"


def _code(found: Mapping[str, Folder]) -> str:
    manifests = [folder.manifest for role, folder in found.items() if role in STAGES]
    made = {(m.hieno, m.code[:12] or "?"): None for m in manifests if m}
    parts = [f"hieno {version} (source {digest})" for version, digest in made]
    run = found["run"].manifest
    libraries = dict(run.facts.get("versions", {})) if run else {}
    libraries.pop("hieno", None)
    return ", ".join([*parts, *(f"{name} {version}" for name, version in libraries.items())])
