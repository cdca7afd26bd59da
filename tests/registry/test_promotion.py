"""Who may serve: the gate decides, a waiver goes past it and is kept, and nothing flips back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from traced import make_project, register

from hieno import files
from hieno.plans import Published, plan
from hieno.project import Project
from hieno.registry import stage as registration
from hieno.registry.versions import aliases, champion, versions
from hieno.registry.waivers import waive, waiver
from told import Told

NO = {"passed": False, "reasons": ["it forgot"]}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Project, Published]:
    """A project whose first version is champion."""
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("hieno.registry.tracking.show", lambda place, reporter: None)
    project = make_project(tmp_path / "desk")
    done = Published()
    for role, folder in register(project, tmp_path / "home").items():
        again(done, role, folder)
    return project, done


def again(done: Published, role: str, folder: Path) -> None:
    manifest = files.read_manifest(folder)
    assert manifest is not None
    done.add(role, folder, manifest)


def another(done: Published, role: str, name: str, facts: Mapping[str, Any]) -> None:
    """Publish another folder of a role, with some facts changed."""
    old = done.manifests[role]
    folder = done.folders[role].with_name(name)
    with files.published(folder, kind=role, key=name * 8) as (partial, kept):
        (partial / "file").write_text(name, encoding="utf-8")
        kept.update({**old.facts, **facts})
    again(done, role, folder)


def test_what_the_gate_refuses_is_a_challenger_and_the_champion_stays(
    made: tuple[Project, Published],
) -> None:
    project, done = made
    assert aliases(project.registry) == {"champion": 1}
    another(done, "package", "package2", {})
    another(done, "evaluation", "evaluation2", {"gate": NO, "champion": 1})
    registration.run(plan("register", project, done), Told())
    assert aliases(project.registry) == {"champion": 1, "challenger": 2}
    assert versions(project.registry)[1].lineage["gate"] == {**NO, "waiver": None}


def test_a_waiver_makes_a_new_version_that_says_who_wanted_it(
    made: tuple[Project, Published],
) -> None:
    project, done = made
    another(done, "evaluation", "evaluation2", {"gate": NO})
    refused = plan("register", project, done)
    registration.run(refused, Told())
    digests = {role: done.manifests[role].digest for role in ("package", "evaluation")}
    waive(project.registry, **digests, reasons=NO["reasons"])
    forced = plan("register", project, done)
    assert forced.key != refused.key
    registration.run(forced, Told())
    assert aliases(project.registry) == {"champion": 3, "challenger": 2}
    mark = versions(project.registry)[2].lineage["gate"]["waiver"]
    assert mark == waiver(project.registry, **digests)
    assert mark["reasons"] == ["it forgot"]
    assert set(mark) == {"by", "at", "reasons"}
    waive(project.registry, **digests, reasons=["another"])
    assert plan("register", project, done).key == forced.key
    assert waiver(project.registry, package="else", evaluation=digests["evaluation"]) is None


def test_a_package_is_compared_with_the_champion_and_the_champion_with_the_one_before(
    made: tuple[Project, Published],
) -> None:
    project, done = made
    alone = plan("evaluate", project, done)
    assert "champion" not in alone.inputs
    another(done, "package", "package2", {})
    against = plan("evaluate", project, done)
    assert against.settings["champion"] == {"version": 1, "same_base": True}
    another(done, "evaluation", "evaluation2", {"champion": 1})
    registration.run(plan("register", project, done), Told())
    now = champion(project.registry)
    assert now is not None
    assert now.version == 2
    assert plan("evaluate", project, done).key == against.key


def test_a_champion_whose_package_is_gone_is_not_asked(made: tuple[Project, Published]) -> None:
    project, done = made
    first = done.folders["package"]
    another(done, "package", "package2", {})
    (first / files.MANIFEST).unlink()
    found = plan("evaluate", project, done)
    assert "champion" not in found.inputs
    assert found.settings["champion"] is None


@pytest.mark.parametrize(
    ("section", "key", "value", "same"),
    [("evaluate", "show", 7, True), ("gate", "min_gain", 0.1, False)],
)
def test_what_is_shown_does_not_evaluate_again_and_the_gate_does(
    made: tuple[Project, Published], section: str, key: str, value: float, same: bool
) -> None:
    project, done = made
    part = getattr(project.config, section).model_copy(update={key: value})
    config = project.config.model_copy(update={section: part})
    changed = dataclasses.replace(project, config=config)
    before, after = plan("evaluate", project, done), plan("evaluate", changed, done)
    assert (after.key == before.key) is same
