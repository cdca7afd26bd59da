"""MLflow shows what the folders hold, however often it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hieno.errors import Unreachable
from hieno.files import published, read_manifest
from hieno.registry import tracking
from hieno.registry.versions import add, set_alias

FACTS: dict[str, Any] = {
    "settings": {"rank": 4, "epochs": 1.0},
    "dtype": "float32",
    "dataset": "d1",
    "base": "b1",
    "test_loss": 0.5,
    "base_test_loss": 2.0,
    "steps": 2,
}
STEPS: list[dict[str, Any]] = [
    {
        "loss": 2.0 / step,
        "learning_rate": 1e-3 / step,
        "grad_norm": 3.0 - step,
        "tokens": 9 * step,
        "tokens_per_second": None if step == 1 else 55.5,  # the first step warms up
        "memory_gb": 0.5 + step,
    }
    for step in (1, 2)
]
DATASET_FACTS: dict[str, Any] = {
    "source": "chats.jsonl",
    "split": {"seed": 0, "test_size": 0.2, "own_test": False},
    "read": 12,
    "rows": {"train": 8, "test": 2, "replay": 0, "rejected": 2},
    "rejected_by_code": {"not-json": 2},
    "train_tokens": {"total": 800, "supervised": 300},
    "test_tokens": {"total": 200, "supervised": 70},
}


@pytest.fixture
def place(tmp_path: Path) -> tracking.Place:
    """A project with one run and no MLflow yet."""
    with published(tmp_path / "runs" / "abc", kind="run", key="abc-key") as (folder, facts):
        facts.update(FACTS)
        metrics = [{"step": step, "epoch": step / 2, **row} for step, row in enumerate(STEPS, 1)]
        samples = [
            {"step": step, "epoch": epoch, "question": "Where is the ferry?", "answer": answer}
            for step, epoch, answer in ((1, 0.5, "Where?"), (2, 1.0, "At the north pier."))
        ]
        for name, rows in (("metrics", metrics), ("samples", samples)):
            text = "\n".join(json.dumps(row) for row in rows)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    with published(tmp_path / "datasets" / "set", kind="dataset", key="set-key") as (folder, facts):
        facts.update(DATASET_FACTS)
        (folder / "train.jsonl").write_text("{}\n", encoding="utf-8")
        (folder / "report.html").write_text("<p>fine</p>", encoding="utf-8")
    return tracking.Place(
        uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        experiment="desk",
        name="desk",
        datasets=str(tmp_path / "datasets"),
        runs=str(tmp_path / "runs"),
        registry=str(tmp_path / "registry"),
    )


def register(place: tracking.Place, digest: str, alias: str) -> None:
    registry = Path(place.registry)
    lineage = {"run": {"key": "abc-key", "digest": "x"}}
    package = registry.parent / "packages" / digest
    made = add(registry, name="desk", package=package, digest=digest, lineage=lineage)
    set_alias(registry, alias, made.version)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow's own
def test_runs_versions_and_aliases_are_shown_once(place: tracking.Place) -> None:
    from mlflow.tracking import MlflowClient

    register(place, "aa", "challenger")
    place = replace(place, scores={"abc-key": 0.75})
    for _ in range(2):
        tracking.sync(place, print)
    client = MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)
    experiment = client.get_experiment_by_name("desk")
    run, dataset = client.search_runs([experiment.experiment_id], order_by=["tags.mlflow.runName"])
    assert run.data.params["rank"] == "4"
    assert run.data.metrics["loss"] == 1.0
    assert run.data.metrics["score"] == 0.75
    for name in STEPS[0]:
        expected = [row[name] for row in STEPS if row[name] is not None]
        history = client.get_metric_history(run.info.run_id, name)
        assert [metric.value for metric in history] == expected, name
    assert run.info.status == "FINISHED"
    assert dataset.info.run_name == "data-set-key"

    register(place, "aa", "champion")
    register(place, "bb", "challenger")
    tracking.sync(place, print)
    assert len(client.search_model_versions("name = 'desk'")) == 2
    aliases = client.get_registered_model("desk").aliases
    assert {alias: int(number) for alias, number in aliases.items()} == {
        "champion": 1,
        "challenger": 2,
    }


@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow's own
def test_held_out_answers_are_a_table_for_each_epoch_of_a_run(place: tracking.Place) -> None:
    from mlflow.tracking import MlflowClient

    for _ in range(2):
        tracking.sync(place, print)
    client = MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)
    experiment = client.get_experiment_by_name("desk")
    [run] = client.search_runs([experiment.experiment_id], "tags.`hieno.key` = 'abc-key'")
    paths = [file.path for file in client.list_artifacts(run.info.run_id, "samples")]
    shown = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": path, "type": "table"} for path in paths]
    tables = {
        path: json.loads(Path(client.download_artifacts(run.info.run_id, path)).read_text("utf-8"))
        for path in paths
    }
    columns = ["step", "question", "answer"]
    rows = [[1, "Where is the ferry?", "Where?"], [2, "Where is the ferry?", "At the north pier."]]
    assert tables == {
        "samples/epoch-0.5.json": {"columns": columns, "data": rows[:1]},
        "samples/epoch-1.json": {"columns": columns, "data": rows[1:]},
    }


@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow's own
def test_a_dataset_is_shown_with_its_report_and_as_what_a_run_learnt_from(
    place: tracking.Place,
) -> None:
    from mlflow.tracking import MlflowClient

    dataset = read_manifest(Path(place.datasets) / "set")
    assert dataset is not None
    with published(Path(place.runs) / "abc", kind="run", key="abc-key") as (folder, facts):
        facts.update({**FACTS, "dataset": dataset.digest})
        (folder / "metrics.jsonl").write_text("", encoding="utf-8")
    tracking.sync(place, print)
    client = MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)
    experiment = client.get_experiment_by_name("desk")
    run, shown = client.search_runs([experiment.experiment_id], order_by=["tags.mlflow.runName"])
    assert shown.data.metrics["set_aside_not-json"] == 2.0
    assert shown.data.metrics["rows_train"] == 8.0
    assert {file.path for file in client.list_artifacts(shown.info.run_id)} == {
        "report.html", "manifest.json",
    }  # fmt: skip
    for found, context in ((shown, "preparation"), (run, "training")):
        [used] = found.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("set", dataset.digest[:36])
        assert [tag.value for tag in used.tags] == [context]


@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow's own
def test_a_moved_project_shows_its_versions_at_their_new_place(place: tracking.Place) -> None:
    from mlflow.tracking import MlflowClient

    register(place, "aa", "champion")
    tracking.sync(place, print)
    here = Path(place.registry).parent
    moved = tracking.Place(**{**vars(place), "registry": str(here / "moved" / "registry")})
    (here / "moved").mkdir()
    (here / "registry").rename(moved.registry)
    for _ in range(2):
        tracking.sync(moved, print)
    client = MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)
    [version] = client.search_model_versions("name = 'desk'")
    assert version.source == (here / "moved" / "packages" / "aa").as_uri()
    assert version.tags["hieno.version"] == "1"
    assert client.get_registered_model("desk").aliases == {"champion": version.version}


def test_a_server_that_does_not_answer_is_named(place: tracking.Place) -> None:
    from hieno.ports import free_port

    gone = tracking.Place(**{**vars(place), "uri": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(Unreachable) as caught:
        tracking.sync(gone, print)
    assert caught.value.message.startswith(f"MLflow at {gone.uri} cannot be used: ")
    assert caught.value.hint == "`hieno models sync` shows everything there once it answers"
