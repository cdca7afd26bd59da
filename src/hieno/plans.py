"""What each heavy stage would read and write: its plan, with the key of its inputs.

A key covers everything that can change the result and nothing else, so that a stage is done
again exactly when it has to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any  # settings are JSON

from hieno.data.sources import files, hub_name, unread
from hieno.errors import MissingInput
from hieno.evaluate.questions import SHIPPED, TEXTS
from hieno.files import Manifest, digest_file, digest_json, read_manifest
from hieno.package.layout import first_format
from hieno.project import Project
from hieno.registry import tracking, versions
from hieno.registry.versions import ModelVersion
from hieno.registry.waivers import waiver
from hieno.stages import StagePlan

REVISION = 3  # raised when a stage would make something else from the same inputs
RULES = 2  # raised when the gate would judge the same answers otherwise


@dataclass
class Published:
    """The folders that the stages so far have published, by role."""

    folders: dict[str, Path] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)

    def add(self, role: str, folder: Path, manifest: Manifest) -> None:
        self.folders[role], self.manifests[role] = folder, manifest


def plan(stage: str, project: Project, done: Published) -> StagePlan:
    """Return the plan of a stage, given what the stages before it published."""
    return _PLANS[stage](project, done)


def _data(project: Project, done: Published) -> StagePlan:
    data, train = project.config.data, project.config.train
    named = hub_name(data.source, split=data.split, root=project.root)
    sources = [] if named else files(project.path(data.source), key="data.source")
    tests = files(project.path(data.test), key="data.test") if data.test else []
    paths: dict[str, Path | None] = {"replay": _file(project, "data.replay", data.replay)}
    for role, found in (("test", tests), ("source", sources)):
        paths |= {f"{role}.{number:06}": path for number, path in enumerate(found)}
    hub = {
        "name": named,
        "subset": data.subset,
        "split": data.split or "train",
        "revision": data.revision,
    }
    where = {"source", "test", "dev", "replay", "workers", "subset", "split", "revision"}
    return _keyed(
        "data",
        project,
        project.datasets,
        done,
        inputs=("base",),
        settings={
            "data": data.model_dump(),
            "max_length": train.max_length,
            "train": train.model_dump(
                include={"batch_size", "epochs", "method", "checkpointing", "dtype"}
            ),
            "serve": _serve(project),
            "sources": [(str(path), _shown(project, path)) for path in sources],
            "tests": [(str(path), _shown(project, path)) for path in tests],
            "unread": []
            if named
            else [_shown(project, p) for p in unread(project.path(data.source))],
            "hub": hub if named else None,
            "shown": f"{named} {hub['split']}" if named else data.source,
            "earlier": _earlier(project),
            "tracking": asdict(tracking.place(project)),
            "replay": None,
            "weights": first_format(project.config.package.weights),
        },
        keyed={
            "data": data.model_dump(exclude=where),
            "max_length": train.max_length,
            "hub": hub if named else None,
        },
        files=paths,
    )


def _shown(project: Project, path: Path) -> str:
    """Return a path as datasets tell it: below the project, or its name alone."""
    inside = path.is_relative_to(project.root)
    return path.relative_to(project.root).as_posix() if inside else path.name


def _earlier(project: Project) -> str | None:
    """Return the dataset made last by the same split: what it held out stays held out."""
    data = project.config.data
    split = {"seed": data.seed, "test_size": data.test_size, "own_test": bool(data.test)}
    found = [
        (manifest.created, str(folder))
        for folder in project.datasets.glob("*/")
        if (manifest := read_manifest(folder)) and manifest.facts.get("split") == split
    ]
    return max(found)[1] if found and not data.test else None


def _train(project: Project, done: Published) -> StagePlan:
    train = project.config.train
    no_effect = {"preset", "samples", "save_minutes", "keep_checkpoints", "max_length"}
    return _keyed(
        "train",
        project,
        project.runs,
        done,
        inputs=("base", "dataset"),
        settings={"train": train.model_dump()},
        keyed={"train": train.model_dump(exclude=no_effect)},
    )


def _estimate(project: Project, done: Published) -> StagePlan:
    train = _train(project, done)
    folder = project.runs / f"{train.key[:12]}.estimate"
    return replace(train, stage="estimate", output=str(folder))


def _package(project: Project, done: Published) -> StagePlan:
    package, evaluate = project.config.package, project.config.evaluate
    name = project.config.name
    settings: dict[str, Any] = {"package": package.model_dump(), "name": name}
    keyed: dict[str, Any] = {"package": package.model_dump(exclude={"max_loss"}), "name": name}
    general = None
    if package.weights == "auto":  # then the answers to these decide what is in it
        own = evaluate.general not in ("shipped", "none")
        general = _file(project, "evaluate.general", evaluate.general) if own else None
        kind = "own" if own else evaluate.general
        settings["asked"] = {"max_new_tokens": evaluate.max_new_tokens, "general": kind}
        shipped = digest_file(SHIPPED) if kind == "shipped" else None
        keyed = {**settings, "shipped": shipped, "serve": _serve(project)}
    return _keyed(
        "package",
        project,
        project.packages,
        done,
        inputs=("base", "dataset", "run"),
        settings={**settings, "serve": _serve(project)},
        keyed=keyed,
        files={"general": general},
    )


def _evaluate(project: Project, done: Published) -> StagePlan:
    evaluate, gate = project.config.evaluate, project.config.gate.model_dump()
    own = evaluate.general not in ("shipped", "none")
    general = _file(project, "evaluate.general", evaluate.general) if own else None
    rival = _rival(project, done)
    given = Published(dict(done.folders), dict(done.manifests))
    if rival and (manifest := read_manifest(Path(rival.package))):
        given.add("champion", Path(rival.package), manifest)
    asked = evaluate.model_dump(exclude={"show", *(["general"] if own else [])})
    shipped = [] if evaluate.general == "none" else [digest_file(path) for path in (SHIPPED, TEXTS)]
    return _keyed(
        "evaluate",
        project,
        project.evaluations,
        given,
        inputs=("base", "dataset", "run", "package", *(["champion"] if rival else [])),
        settings={
            "evaluate": evaluate.model_dump(),
            "gate": gate,
            "engine": done.manifests["package"].facts["engine"],
            "weights": first_format(project.config.package.weights),
            "serve": _serve(project),
            "general": None,
            "champion": rival
            and {
                "version": rival.version,
                "same_base": rival.lineage["base"]["digest"] == done.manifests["base"].digest,
            },
        },
        keyed={"evaluate": asked, "gate": gate, "rules": RULES, "shipped": shipped},
        files={"general": general},
    )


def _rival(project: Project, done: Published) -> ModelVersion | None:
    """Return the version that a package has to hold its own against, if there is one.

    That is the champion; for the champion itself, the one that it was registered against, so that
    becoming champion changes nothing in its own evaluation. None where its package is gone.
    """
    known = {version.version: version for version in versions.versions(project.registry)}
    found = versions.champion(project.registry)
    if found and found.digest == done.manifests["package"].digest:
        found = known.get(found.lineage.get("champion") or 0)
    return found if found and read_manifest(Path(found.package)) else None


def _register(project: Project, done: Published) -> StagePlan:
    digests = {role: done.manifests[role].digest for role in ("package", "evaluation")}
    waived = waiver(project.registry, **digests)
    return _keyed(
        "register",
        project,
        project.registry / "registrations",
        done,
        inputs=("package", "evaluation"),
        settings={
            "name": project.config.name,
            "registry": str(project.registry),
            "tracking": asdict(tracking.place(project)),
            "waiver": waived,
        },
        keyed={"name": project.config.name, "waiver": waived},
    )


def _keyed(
    stage: str,
    project: Project,
    folder: Path,
    done: Published,
    *,
    inputs: tuple[str, ...],
    settings: dict[str, Any],
    keyed: dict[str, Any],
    files: Mapping[str, Path | None] | None = None,
) -> StagePlan:
    read = {role: path for role, path in (files or {}).items() if path}
    content = {role: digest_file(path) for role, path in read.items()}
    digests = {role: done.manifests[role].digest for role in inputs}
    made_of = {
        "stage": stage,
        "revision": REVISION,
        "inputs": digests,
        "files": content,
        **keyed,
    }
    key = digest_json(made_of)
    return StagePlan(
        stage=stage,
        key=key,
        output=str(folder / key[:12]),
        work=str(folder / f"{key[:12]}.work"),
        inputs={role: str(done.folders[role]) for role in inputs},
        digests=digests,
        files={str(path): content[role] for role, path in read.items()},
        settings={**settings, **{role: str(path) for role, path in read.items()}},
        origin={
            "made_of": made_of,
            "read": {role: _placed(project, path) for role, path in read.items()},
        },
    )


def _placed(project: Project, path: Path) -> str:
    """Return a path that holds where the project is moved, or as it is for one outside."""
    inside = path.is_relative_to(project.root)
    return path.relative_to(project.root).as_posix() if inside else str(path)


def _serve(project: Project) -> dict[str, Any]:
    """Return the settings of serving: what is asked in a stage is asked as it will be served."""
    return project.config.serve.model_dump()


def _file(project: Project, key: str, name: str | None) -> Path | None:
    if name is None:
        return None
    path = project.path(name)
    if not path.is_file():
        raise MissingInput(f"{key}: there is no file {path}", hint=f"correct {key} in hieno.yaml")
    return path


_PLANS: Mapping[str, Callable[[Project, Published], StagePlan]] = {
    "data": _data,
    "train": _train,
    "estimate": _estimate,
    "package": _package,
    "evaluate": _evaluate,
    "register": _register,
}
