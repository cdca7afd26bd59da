"""A registered version with everything behind it, planned and published as the stages do.

What the folders hold is made up in an instant: nothing here was trained, and MLflow is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hieno import files
from hieno.plans import Published, plan
from hieno.project import Project, open_project
from hieno.registry import stage as registration
from hieno.stages import publish
from told import Told

YAML = """
name: desk
model: ./base
data: {source: data/chats.jsonl}
train: {rank: 8}
evaluate: {general: data/general.jsonl}
"""
MADE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "data": ("dataset", "train.jsonl", {"rows": {"train": 3, "test": 1, "replay": 0}}),
    "train": (
        "run",
        "adapter/adapter_model.safetensors",
        {"steps": 7, "dtype": "float32", "versions": {"hieno": "0.1.0", "torch": "2"}},
    ),
    "package": ("package", "artifacts/model/model.safetensors", {"engine": "transformers"}),
    "evaluate": (
        "evaluation",
        "report.json",
        {"scores": {"tuned": {}}, "champion": None, "gate": {"passed": True, "reasons": []}},
    ),
}


def make_project(root: Path) -> Project:
    """Write a project with its base model in the cache (`HIENO_HOME` must be set)."""
    (root / "data").mkdir(parents=True)
    (root / "hieno.yaml").write_text(YAML, encoding="utf-8")
    for name in ("chats", "general"):
        (root / "data" / f"{name}.jsonl").write_text(f'{{"{name}": 1}}\n', encoding="utf-8")
    return open_project(root)


def register(project: Project, home: Path) -> dict[str, Path]:
    """Publish every stage's folder and register the package; return the folders by role."""
    done = Published()
    base = home / "models" / "base-1"
    with files.published(base, kind="model", key="b") as (folder, facts):
        (folder / "model.safetensors").write_text("the base", encoding="utf-8")
        facts.update(source="base", revision="r1", origin="local", requested=None, sizes={})
    _add(done, "base", base)
    for name, (role, file, made) in MADE.items():
        planned = plan(name, project, done)
        with publish(planned, role) as (folder, facts):
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"what {name} made", encoding="utf-8")
            facts.update(made)
            if name == "package":
                facts.update(_behind(done))
        _add(done, role, Path(planned.output))
    registration.run(plan("register", project, done), Told())
    return done.folders


def _behind(done: Published) -> dict[str, Any]:
    run = done.manifests["run"]
    return {
        "run": {"key": run.key, "digest": run.digest},
        "dataset": {"digest": done.manifests["dataset"].digest},
        "base": {"digest": done.manifests["base"].digest},
    }


def _add(done: Published, role: str, folder: Path) -> None:
    manifest = files.read_manifest(folder)
    assert manifest is not None
    done.add(role, folder, manifest)
