"""A training's metrics in the workspace's MLflow, while it runs.

Azure tells a job its run and address in the environment; its plugin for MLflow does the rest. What
cannot be shown is said once and stops no training.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # rows of JSONL, and a client of a library that is imported late

from hieno.files import read_manifest
from hieno.registry.tracking import DIGEST, KEY, METRICS
from hieno.reporting import Reporter

PERIOD = 2.0  # seconds
FILE = "metrics.jsonl"


@contextmanager
def shown(work: Path, output: Path, reporter: Reporter) -> Iterator[None]:
    """Show the rows of a training's metrics as they come, and its settings at the end."""
    run = os.environ.get("MLFLOW_RUN_ID")
    client = _client(reporter) if run else None
    if run is None or client is None:
        yield
        return
    showing = _Showing(client, run, reporter)
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(PERIOD):
            showing.rows(work / FILE)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        showing.rows(work / FILE)
        showing.rows(output / FILE)
        showing.settings(output)


class _Showing:
    def __init__(self, client: Any, run: str, reporter: Reporter) -> None:
        self._client, self._run, self._reporter = client, run, reporter
        self._rows = 0
        self._gave_up = False

    def rows(self, path: Path) -> None:
        from mlflow.entities import Metric

        new = _read(path)[self._rows :]
        heard = round(time.time() * 1000)
        found = [
            Metric(name, float(row[name]), heard, int(row["step"]))
            for row in new
            for name in METRICS
            if row.get(name) is not None
        ]
        for start in range(0, len(found), 1000):  # MLflow's limit for one call
            self._send(metrics=found[start : start + 1000])
        self._rows += len(new)

    def settings(self, output: Path) -> None:
        from mlflow.entities import Param, RunTag

        if (manifest := read_manifest(output)) is None:
            return
        named = {**manifest.facts["settings"], "dtype": manifest.facts["dtype"]}
        tags = {DIGEST: manifest.digest, KEY: manifest.key}
        self._send(
            params=[Param(name, str(value)) for name, value in named.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )

    def _send(self, **what: Any) -> None:
        if self._gave_up:
            return
        try:
            self._client.log_batch(self._run, **what)
        except Exception as error:  # the plugin raises whatever its transport raises
            self._gave_up = True
            self._reporter.say(f"warning: MLflow does not take the metrics: {error}")


def _client(reporter: Reporter) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import azureml.mlflow  # noqa: F401  # makes MLflow understand Azure's addresses
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        reporter.say(f"warning: no metrics in MLflow: {error.name} is not in this image")
        return None
    return MlflowClient()


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n") and line.strip()]
