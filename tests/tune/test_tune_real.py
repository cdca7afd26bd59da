"""A search with real trainings of the tiny model, interrupted once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hieno.files import read_jsonl
from hieno.project import open_project
from hieno.tune import tune
from told import Told
from two_facts import write_chats

pytestmark = pytest.mark.slow  # three trainings, packages and evaluations


@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow's own
def test_real_trainings_are_scored_on_a_development_set_and_shown_in_mlflow(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    write_chats(root / "chats.jsonl", [""], repeats=20)
    (root / "hieno.yaml").write_text(
        f"name: tiny-one\nmodel: {tiny_model}\n"
        "data: {source: chats.jsonl, near_duplicates: keep}\n"
        "train: {rank: 16, alpha: 32, learning_rate: 1e-2, epochs: 4, batch_size: 4,"
        " dtype: float32}\n"
        "package: {engine: transformers}\nevaluate: {general: none}\n",
        encoding="utf-8",
    )
    project = open_project(root)
    first = tune(project, budget=3600, trials=1, reporter=Told())
    second = tune(project, budget=3600, trials=2, reporter=Told())
    assert first.folder == second.folder
    assert [trial.state for trial in second.trials] == ["done", "done"]
    assert second.trials[0] == first.trials[0]
    assert second.winner.score == max(trial.score or 0.0 for trial in second.trials)

    held_out = next(project.datasets.glob("*/test.jsonl"))
    asked = {json.dumps(row["messages"]) for row in read_jsonl(held_out)}
    for file in second.folder.glob(".hieno/datasets/*/*.jsonl"):
        assert not asked & {json.dumps(row.get("messages")) for row in read_jsonl(file)}, file
    assert not list(second.folder.glob(".hieno/packages/*/"))

    client = MlflowClient(tracking_uri=project.tracking_uri)
    experiment = client.get_experiment_by_name("tiny-one-tune")
    runs = client.search_runs([experiment.experiment_id], filter_string="metrics.score > -99")
    assert len(runs) == 2
