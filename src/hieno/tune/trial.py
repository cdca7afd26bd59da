"""One trial: a project of its own below `.hieno/tune`, brought to its evaluation like any other.

Its held-out chats are the development set. What the project itself holds out is never read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # settings and facts are JSON

from hieno import pipeline
from hieno.config import Config
from hieno.errors import HienoError
from hieno.files import read_jsonl, read_manifest
from hieno.project import Project
from hieno.registry import tracking
from hieno.reporting import Reporter

METRICS = "metrics.jsonl"


class Hopeless(Exception):
    """Others were better at this point."""


class OutOfTime(Exception):
    """The budget has ended; the checkpoints stay."""


@dataclass(frozen=True)
class Result:
    """What a whole trial measured; `run` is the key of its training."""

    score: float
    run: str
    dev_loss: float | None
    seconds: float


class Observer:
    """Pass on what a trial tells, and look at each word whether it shall go on.

    `look` is called with the held-out losses of the epochs so far; what it raises ends the trial.
    """

    def __init__(
        self, inner: Reporter, runs: Path, look: Callable[[list[float], str], None]
    ) -> None:
        self._inner = inner
        self._runs = runs
        self._look = look
        self._stage = ""

    def stage(self, name: str) -> None:
        self._stage = name
        self._look(self._losses(), name)

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
        of = f"/{total:,.0f}" if total else ""
        self._look(self._losses(), f"{self._stage} {done:,.0f}{of} {unit}")

    def say(self, line: str) -> None:
        self._look(self._losses(), self._stage)

    def _losses(self) -> list[float]:
        if self._stage != "train":
            return []
        for metrics in self._runs.glob(f"*.work/{METRICS}"):
            return [row["test_loss"] for row in read_jsonl(metrics) if "test_loss" in row]
        return []


def project_of(project: Project, dataset: Path, place: Path) -> Project:
    """Return the project in which trials run: trained on its training chats without some of them.

    These are the development set, or `data.dev` where the project names one.
    """
    document = project.config.model_dump()
    data, train = document["data"], document["train"]
    for name in ("subset", "split", "revision"):
        data[name] = None
    dev = data["dev"]
    data |= {
        "source": str(dataset / "train.jsonl"),
        "format": "messages",
        "columns": {},
        "test": str(project.path(dev)) if dev else None,
        "dev": None,
        "replay": data["replay"] and str(project.path(data["replay"])),
        "secrets": "report",  # what was to be masked or dropped is so already
        "personal": "report",
    }
    train |= {"preset": None, "evaluate": "epoch", "patience": 0}
    document["package"]["weights"] = "fp32"
    document["mlflow"] = {
        "tracking_uri": project.tracking_uri,
        "experiment": f"{tracking.place(project).experiment}-tune",
    }
    general = document["evaluate"]["general"]
    if general and project.path(general).is_file():
        document["evaluate"]["general"] = str(project.path(general))
    if (project.root / project.config.model).is_dir():
        document["model"] = str((project.root / project.config.model).resolve())
    return Project(place, Config.model_validate(document), ())


def run(trials: Project, settings: Mapping[str, Any], observer: Observer) -> Result:
    """Train, package and evaluate with some settings; raise what the observer raises."""
    document = trials.config.model_dump()
    document["train"] |= settings
    made = Project(trials.root, Config.model_validate(document), ())
    results = pipeline.run(made, until="evaluate", reporter=observer)
    details = {result.stage: result.details for result in results}
    score = details["evaluate"]["score"]
    if score is None:
        raise HienoError(
            "there is nothing to score a training by: no development chat has a reply",
            hint="name a file of chats in data.dev",
        )
    shutil.rmtree(details["package"]["folder"])  # the largest part, and made again in a minute
    folder = Path(details["train"]["folder"])
    return Result(
        score=float(score),
        run=_key(folder),
        dev_loss=details["train"]["test_loss"],
        seconds=sum(result.seconds for result in results),
    )


def forget(trials: Project) -> None:
    """Remove the checkpoints of a trial that nobody will go on with."""
    for work in trials.runs.glob("*.work"):
        shutil.rmtree(work)


def _key(folder: Path) -> str:
    manifest = read_manifest(folder)
    return manifest.key if manifest else ""
