"""Datasets in MLflow: each as a run of its own with its report, and as the input of trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hieno.files import MANIFEST, Manifest

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric
    from mlflow.tracking import MlflowClient

REPORT = "report.html"
_LONGEST_DIGEST = 36  # MLflow's limit


def add_dataset(
    client: MlflowClient, experiment: str, folder: Path, manifest: Manifest, tags: dict[str, str]
) -> str:
    """Show a dataset: its counts, its report and its manifest; `tags` are written last."""
    from mlflow.entities import Param, RunTag

    facts = manifest.facts
    name = f"data-{manifest.key[:12]}"
    run_id = str(client.create_run(experiment, run_name=name).info.run_id)
    parameters = {"source": str(facts["source"])[:500], **facts["split"]}
    client.log_batch(
        run_id,
        params=[Param(key, str(value)) for key, value in parameters.items()],
        metrics=_counts(manifest),
    )
    client.log_inputs(run_id, [as_input(folder, manifest, context="preparation")])
    for file in (REPORT, MANIFEST):
        client.log_artifact(run_id, str(folder / file))
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    client.set_terminated(run_id, "FINISHED")
    return run_id


def as_input(folder: Path, manifest: Manifest, *, context: str) -> DatasetInput:
    """Return a dataset as MLflow names what went into a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    dataset = Dataset(
        name=folder.name,
        digest=manifest.digest[:_LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"uri": str(folder)}),
        profile=json.dumps(manifest.facts["rows"]),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])


def _counts(manifest: Manifest) -> list[Metric]:
    from mlflow.entities import Metric

    facts = manifest.facts
    counts = {
        "read": facts["read"],
        **{f"rows_{side}": count for side, count in facts["rows"].items()},
        **{f"tokens_{side}": facts[f"{side}_tokens"]["total"] for side in ("train", "test")},
        "tokens_supervised": facts["train_tokens"]["supervised"],
        **{f"set_aside_{code}": count for code, count in facts["rejected_by_code"].items()},
    }
    return [Metric(name, float(count), 0, 0) for name, count in counts.items()]
