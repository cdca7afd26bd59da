"""Show datasets, runs and model versions in MLflow.

The published folders are the truth; MLflow is a projection of them, written afterwards. Every
call adds what is missing and changes nothing else, so it can be repeated at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any  # parameters are JSON

from hieno.errors import HienoError, Unreachable
from hieno.files import Manifest, read_jsonl, read_manifest
from hieno.project import Project
from hieno.registry import versions
from hieno.registry.datasets import add_dataset, as_input
from hieno.reporting import Reporter

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

KEY = "hieno.key"
DIGEST = "hieno.digest"
VERSION = "hieno.version"
METRICS = (
    "loss",
    "learning_rate",
    "grad_norm",
    "tokens",
    "tokens_per_second",
    "memory_gb",
    "test_loss",
)


@dataclass(frozen=True)
class Place:
    """Where a project's runs and versions lie, and the MLflow that shows them.

    `scores` has a number for each run, by its key, that was scored by somebody.
    """

    uri: str
    experiment: str
    name: str
    datasets: str
    runs: str
    registry: str
    scores: Mapping[str, float] = field(default_factory=dict)


def place(project: Project) -> Place:
    """Return the MLflow of a project."""
    config = project.config
    return Place(
        uri=project.tracking_uri,
        experiment=config.mlflow.experiment or config.name,
        name=config.name,
        datasets=str(project.datasets),
        runs=str(project.runs),
        registry=str(project.registry),
    )


def sync(place: Place, say: Callable[[str], None]) -> None:
    """Add each published dataset and run and registered version that MLflow does not have yet.

    Raises `Unreachable` where the server does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)
        experiment = _experiment(client, place)
        shown = {
            run.data.tags[KEY]: run.info.run_id
            for run in client.search_runs([experiment], filter_string=f"tags.`{KEY}` != ''")
        }
        known = dict(_published(place.datasets))
        for folder, manifest in known.items():
            if manifest.key not in shown:
                tags = {DIGEST: manifest.digest, KEY: manifest.key}
                shown[manifest.key] = add_dataset(client, experiment, folder, manifest, tags)
        for folder, manifest in _published(place.runs):
            if manifest.key not in shown:
                shown[manifest.key] = _add_run(client, experiment, folder, manifest, known)
                if manifest.key in place.scores:
                    score = place.scores[manifest.key]
                    client.log_metric(shown[manifest.key], "score", score)
        _add_versions(client, place, shown)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise Unreachable(
            f"MLflow at {place.uri} cannot be used: {error}",
            hint="`hieno models sync` shows everything there once it answers",
        ) from error


def show(place: Place, reporter: Reporter) -> None:
    """Sync; where MLflow cannot be used, say so and how to do it later."""
    try:
        sync(place, reporter.say)
    except HienoError as error:
        reporter.say(f"warning: {error.message}; {error.hint}")


def _published(folder: str) -> Iterator[tuple[Path, Manifest]]:
    for path in sorted(Path(folder).glob("*/")):
        manifest = None if "." in path.name else read_manifest(path)
        if manifest:
            yield path, manifest


def _experiment(client: MlflowClient, place: Place) -> str:
    found = client.get_experiment_by_name(place.experiment)
    if found is not None:
        return str(found.experiment_id)
    local = place.uri.startswith("sqlite:")
    artifacts = (Path(place.runs).parent / "mlartifacts").as_uri() if local else None
    return str(client.create_experiment(place.experiment, artifact_location=artifacts))


def _add_run(
    client: MlflowClient,
    experiment: str,
    folder: Path,
    manifest: Manifest,
    datasets: Mapping[Path, Manifest],
) -> str:
    from mlflow.entities import Metric, Param, RunTag

    facts = manifest.facts
    rows = list(read_jsonl(folder / "metrics.jsonl"))
    run_id = str(client.create_run(experiment, run_name=manifest.key[:12]).info.run_id)
    parameters: dict[str, Any] = {**facts["settings"], "dtype": facts["dtype"]}
    client.log_batch(run_id, params=[Param(k, str(v)) for k, v in parameters.items()])
    metrics = [
        Metric(name, float(row[name]), 0, int(row["step"]))
        for row in rows
        for name in METRICS
        if row.get(name) is not None
    ]
    for name in ("test_loss", "base_test_loss"):
        if facts[name] is not None:
            metrics.append(Metric(name, facts[name], 0, facts["steps"]))
    for start in range(0, len(metrics), 1000):  # MLflow's limit for one call
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    _add_samples(client, run_id, folder / "samples.jsonl")
    for path, dataset in datasets.items():
        if dataset.digest == facts["dataset"]:
            client.log_inputs(run_id, [as_input(path, dataset, context="training")])
    tags = {
        DIGEST: manifest.digest,
        "hieno.dataset": facts["dataset"],
        "hieno.base": facts["base"],
        KEY: manifest.key,  # last: a run without it is written again
    }
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _add_samples(client: MlflowClient, run_id: str, samples: Path) -> None:
    """Add the answers to held-out questions as a table for each epoch, if there are any."""
    from pandas import DataFrame

    rows = list(read_jsonl(samples)) if samples.is_file() else []
    epochs: dict[float, list[dict[str, Any]]] = {}
    for row in rows:
        epochs.setdefault(row["epoch"], []).append(row)
    for epoch, some in epochs.items():
        # as objects: of how MLflow asks for columns of text, pandas warns where they are its own
        table = DataFrame(some, columns=["step", "question", "answer"], dtype=object)
        client.log_table(run_id, table, f"samples/epoch-{epoch:g}.json")


def _add_versions(client: MlflowClient, place: Place, runs: dict[str, str]) -> None:
    registry = Path(place.registry)
    known = versions.versions(registry)
    if not known:
        return
    if not client.search_registered_models(f"name = '{place.name}'"):
        client.create_registered_model(place.name)
    numbers: dict[int, str] = {}
    sources = {str(version.version): Path(version.package).as_uri() for version in known}
    for shown in client.search_model_versions(f"name = '{place.name}'"):
        number = shown.tags.get(VERSION)
        if number in sources and shown.source == sources[number]:
            numbers[int(number)] = shown.version
        elif number in sources:  # the project was moved, and a version's source stays as it is
            client.delete_model_version(place.name, shown.version)
    for version in known:
        if version.version not in numbers:
            made = client.create_model_version(
                place.name,
                source=sources[str(version.version)],
                run_id=runs.get(version.lineage["run"]["key"]),
                tags={DIGEST: version.digest, VERSION: str(version.version)},
            )
            numbers[version.version] = made.version
    current = versions.aliases(registry)
    for alias in client.get_registered_model(place.name).aliases:
        if alias not in current:
            client.delete_registered_model_alias(place.name, alias)
    for alias, number in current.items():
        client.set_registered_model_alias(place.name, alias, numbers[number])
