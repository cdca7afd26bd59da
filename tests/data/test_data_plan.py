"""From a project's configuration to its dataset, and to the next one when the chats grow."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from preparing import different, write

from hieno import plans
from hieno.errors import MissingInput
from hieno.files import published, read_manifest
from hieno.package import layout
from hieno.project import open_project
from hieno.stages import StagePlan, run_plan
from told import Told


@pytest.fixture(scope="module")
def base(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("base") / "package"
    with published(root, kind="package", key="tiny") as (folder, _):
        shutil.copytree(tiny_model, folder / layout.MODEL)
    return root


def planned(root: Path, base: Path, **flags: Any) -> StagePlan:
    if not (root / "hieno.yaml").exists():
        (root / "hieno.yaml").write_text("name: books\nmodel: demo\n", encoding="utf-8")
    manifest = read_manifest(base)
    assert manifest is not None
    done = plans.Published()
    done.add("base", base, manifest)
    project = open_project(root, flags={f"data.{key}": value for key, value in flags.items()})
    return plans.plan("data", project, done)


def made(plan: StagePlan) -> tuple[set[str], set[str]]:
    run_plan(replace(plan, settings={**plan.settings, "tracking": None}), Told())
    texts = [(Path(plan.output) / f"{n}.jsonl").read_text("utf-8") for n in ("train", "test")]
    return set(texts[0].splitlines()), set(texts[1].splitlines())


def test_what_was_held_out_stays_so_in_a_project_whose_chats_grow(
    base: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    rows = different(118)
    write(tmp_path / "data" / "chats.jsonl", rows)
    first = planned(tmp_path, base)
    before = made(first)
    write(tmp_path / "data" / "chats.jsonl", [*different(3, start=5000), *rows])
    second = planned(tmp_path, base)
    assert second.key != first.key
    after = made(second)
    assert before[1] <= after[1]
    assert before[0] <= after[0]
    assert planned(tmp_path, base).key == second.key, "a dataset that is made stays current"


def test_a_folder_of_chats_is_one_source_told_below_the_project(base: Path, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    write(tmp_path / "export" / "b.jsonl", different(2))
    write(tmp_path / "export" / "a.jsonl", different(2))
    (tmp_path / "export" / "notes.txt").write_text("call Eeva", encoding="utf-8")
    plan = planned(tmp_path, base, source="export")
    assert [shown for _, shown in plan.settings["sources"]] == ["export/a.jsonl", "export/b.jsonl"]
    assert len(plan.files) == 2
    assert plan.settings["unread"] == ["export/notes.txt"]
    made(plan)
    rejected = (Path(plan.output) / "rejected.jsonl").read_text("utf-8")
    assert '"file": "export/b.jsonl"' in rejected
    assert str(tmp_path) not in rejected


def test_the_number_of_workers_changes_no_key_and_a_threshold_does(
    base: Path, tmp_path: Path
) -> None:
    write(tmp_path / "c.jsonl", different(2))
    keys = [
        planned(tmp_path, base, source="c.jsonl", **flags).key
        for flags in ({}, {"workers": 7}, {"similarity": 0.9})
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_hub_set_is_keyed_by_its_name_split_and_revision(base: Path, tmp_path: Path) -> None:
    name = "HuggingFaceH4/ultrachat_200k"
    plan = planned(tmp_path, base, source=name, split="train_sft[:1%]")
    assert plan.settings["hub"] == {
        "name": name, "subset": None, "split": "train_sft[:1%]", "revision": None,
    }  # fmt: skip
    other = planned(tmp_path, base, source=f"hf:{name}", split="train_sft[:10]")
    assert plan.key != other.key
    with pytest.raises(MissingInput, match=r"data\.source: there is no file"):
        planned(tmp_path, base, source=name)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow's own
def test_a_dataset_is_shown_in_the_mlflow_of_the_project(base: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    write(tmp_path / "c.jsonl", different(5))
    plan = planned(tmp_path, base, source="c.jsonl")
    told = Told()
    run_plan(plan, told)
    assert not any(line.startswith("warning") for line in told.lines)
    client = MlflowClient(tracking_uri=plan.settings["tracking"]["uri"])
    [run] = client.search_runs([client.get_experiment_by_name("books").experiment_id])
    [used] = run.inputs.dataset_inputs
    manifest = read_manifest(Path(plan.output))
    assert manifest is not None
    assert used.dataset.digest == manifest.digest[:36]
    assert "report.html" not in manifest.files, "the time that this machine needs is no data"
