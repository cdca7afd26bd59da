"""What each heavy stage would read and write: its plan, with the key of its inputs.

A key covers everything that can change the result and nothing else, so that a stage is done
again exactly when it has to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any  # settings are JSON

from hieno.errors import MissingInput
from hieno.files import Manifest, digest_file, digest_json
from hieno.project import Project
from hieno.registry import tracking
from hieno.stages import StagePlan

REVISION = 1  # raised when a stage would make something else from the same inputs


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
    data, max_length = project.config.data, project.config.train.max_length
    paths = {
        "source": _file(project, "data.source", data.source),
        "test": _file(project, "data.test", data.test),
        "replay": _file(project, "data.replay", data.replay),
    }
    keyed = {
        "data": data.model_dump(exclude={"source", "test", "replay"}),
        "max_length": max_length,
    }
    return _keyed(
        "data",
        project.datasets,
        done,
        inputs=("base",),
        settings={
            "data": data.model_dump(),
            "max_length": max_length,
            "serve": _serve(project),
            **dict.fromkeys(paths),
        },
        keyed=keyed,
        files=paths,
    )


def _train(project: Project, done: Published) -> StagePlan:
    train = project.config.train
    no_effect = {"save_minutes", "keep_checkpoints", "max_length"}
    return _keyed(
        "train",
        project.runs,
        done,
        inputs=("base", "dataset"),
        settings={"train": train.model_dump()},
        keyed={"train": train.model_dump(exclude=no_effect)},
    )


def _package(project: Project, done: Published) -> StagePlan:
    settings = {"package": project.config.package.model_dump(), "name": project.config.name}
    return _keyed(
        "package",
        project.packages,
        done,
        inputs=("base", "dataset", "run"),
        settings={**settings, "serve": _serve(project)},
        keyed=settings,
    )


def _evaluate(project: Project, done: Published) -> StagePlan:
    evaluate = project.config.evaluate
    general = _file(project, "evaluate.general", evaluate.general)
    return _keyed(
        "evaluate",
        project.evaluations,
        done,
        inputs=("base", "dataset", "package"),
        settings={
            "evaluate": evaluate.model_dump(),
            "engine": done.manifests["package"].facts["engine"],
            "serve": _serve(project),
            "general": None,
        },
        keyed={"evaluate": evaluate.model_dump(exclude={"general"})},
        files={"general": general},
    )


def _register(project: Project, done: Published) -> StagePlan:
    return _keyed(
        "register",
        project.registry / "registrations",
        done,
        inputs=("package", "evaluation"),
        settings={
            "name": project.config.name,
            "registry": str(project.registry),
            "tracking": asdict(tracking.place(project)),
        },
        keyed={"name": project.config.name},
    )


def _keyed(
    stage: str,
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
    made_of = {"inputs": digests, "files": content, **keyed}
    key = digest_json({"stage": stage, "revision": REVISION, **made_of})
    return StagePlan(
        stage=stage,
        key=key,
        output=str(folder / key[:12]),
        work=str(folder / f"{key[:12]}.work"),
        inputs={role: str(done.folders[role]) for role in inputs},
        digests=digests,
        files={str(path): content[role] for role, path in read.items()},
        settings={**settings, **{role: str(path) for role, path in read.items()}},
    )


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
    "package": _package,
    "evaluate": _evaluate,
    "register": _register,
}
