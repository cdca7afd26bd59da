"""The search: what is tried, what is stopped, what survives an interruption, and who wins.

Trainings are stand-ins that answer at once: they prove the search, not a training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hieno.cli.commands import hieno
from hieno.config import Config
from hieno.errors import DiskFull, HienoError, Interrupted, TryLater
from hieno.project import Project, open_project
from hieno.registry import tracking
from hieno.train.stage import spread
from hieno.tune.search import Budget, Found, explore
from hieno.tune.trial import Observer, Result, project_of
from told import Told

OWN = {"learning_rate": 2e-4, "epochs": 3, "rank": 32, "alpha": 64, "replay_share": 1.0}


@dataclass
class Trainer:
    """Trains in no time: `scores` by trial, `losses` of its epochs, and what goes wrong in it."""

    scores: Callable[[int], float] = lambda number: float(number)
    losses: Callable[[int], list[float]] = lambda number: [1.0, 0.5]
    wrong: Callable[[int], BaseException | None] = lambda number: None
    now: float = 0.0
    seconds: float = 10.0
    tried: list[dict[str, Any]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def __call__(self, trials: Project, settings: Mapping[str, Any], observer: Observer) -> Result:
        number = len(self.tried)
        self.tried.append(dict(settings))
        if error := self.wrong(number):
            raise error
        work = trials.runs / "abc.work"
        work.mkdir(parents=True, exist_ok=True)
        observer.stage("train")
        losses = self.losses(number)
        for epoch in range(len(losses)):
            rows = [{"step": i, "test_loss": loss} for i, loss in enumerate(losses[: epoch + 1])]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (work / "metrics.jsonl").write_text(text, encoding="utf-8")
            self.now += self.seconds / len(losses)
            observer.progress(epoch + 1, len(losses), "steps")
        for path in work.iterdir():
            path.unlink()
        work.rmdir()
        return Result(self.scores(number), f"run-{number}", losses[-1], self.seconds)


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "show", lambda place, reporter: None)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    config = Config.model_validate({"name": "desk", "data": {"replay": "general.jsonl"}})
    return Project(tmp_path / "tune", config, ())


def search(
    project: Project, trainer: Trainer, *, budget: float = 1e6, trials: int | None = None
) -> tuple[Found, Told]:
    told = Told()
    found = explore(project, Budget(budget, trials, trainer.clock), told, trainer)
    return found, told


def test_the_best_of_all_trials_is_written_as_a_snippet(project: Project) -> None:
    trainer = Trainer(scores=lambda number: [0.5, 0.9, 0.7][number])
    found, told = search(project, trainer, trials=3)
    assert trainer.tried[0] == OWN
    assert found.before.score == 0.5
    assert (found.winner.number, found.winner.score) == (1, 0.9)
    assert found.winner.settings == trainer.tried[1]
    lines = [f"  {key}: {value}" for key, value in trainer.tried[1].items()]
    assert found.snippet == "\n".join(["train:", *lines])
    written = (project.root / "winner.yaml").read_text(encoding="utf-8")
    assert written == f"# score 0.9 in trial 1\n{found.snippet}\n"
    assert told.lines[0].startswith("trial 0: score 0.5000 with learning_rate 0.0002, epochs 3")


def test_of_equal_scores_the_settings_that_are_there_win(project: Project) -> None:
    found, _ = search(project, Trainer(scores=lambda number: 0.5), trials=3)
    assert found.winner == found.before


def test_every_trial_is_near_and_keeps_the_strength_of_the_adapter(project: Project) -> None:
    trainer = Trainer(scores=lambda number: -abs(number - 4.0))
    search(project, trainer, trials=12)
    assert len({json.dumps(tried) for tried in trainer.tried}) > 6
    for tried in trainer.tried:
        assert 4e-5 <= tried["learning_rate"] <= 1e-3
        assert tried["epochs"] in range(1, 7)
        assert tried["rank"] in (8, 16, 32, 64)
        assert tried["alpha"] == 2 * tried["rank"]
        assert tried["replay_share"] in (0.25, 0.5, 1.0)


def test_a_hopeless_trial_is_stopped_at_its_first_epoch(project: Project) -> None:
    trainer = Trainer(losses=lambda number: [9.0, 9.0] if number == 3 else [1.0, 0.5])
    found, told = search(project, trainer, trials=5)
    assert [trial.state for trial in found.trials] == ["done", "done", "done", "stopped", "done"]
    assert "trial 3 stopped: others were better by then" in told.lines
    assert trainer.now == 4 * 10 + 5
    assert not list(project.runs.iterdir())


def test_a_search_ends_with_its_budget_and_goes_on_where_it_ended(project: Project) -> None:
    trainer = Trainer()
    found, told = search(project, trainer, budget=17)
    assert [trial.number for trial in found.trials] == [0]
    assert len(trainer.tried) == 2
    assert (project.runs / "abc.work").is_dir()
    assert told.progressed[-1] == (15.0, 17, "s")
    found, _ = search(project, trainer, trials=2)
    assert trainer.tried[2] == trainer.tried[1]
    assert [trial.state for trial in found.trials] == ["done", "done"]
    found, _ = search(project, trainer, trials=4)
    assert trainer.tried[3] not in trainer.tried[:3]


def test_no_trial_begins_that_cannot_end(project: Project) -> None:
    trainer = Trainer()
    found, _ = search(project, trainer, budget=24)
    assert (len(found.trials), len(trainer.tried)) == (2, 2)


@pytest.mark.parametrize(
    "error", [Interrupted("stop", hint="go on"), KeyboardInterrupt(), DiskFull("full", hint="x")]
)
def test_what_was_interrupted_is_tried_again_first(project: Project, error: BaseException) -> None:
    trainer = Trainer(wrong=lambda number: error if number == 1 else None)
    with pytest.raises(type(error)):
        search(project, trainer)
    found, _ = search(project, trainer, trials=2)
    assert trainer.tried[2] == trainer.tried[1]
    assert [trial.state for trial in found.trials] == ["done", "done"]


def test_a_trial_that_fails_is_told_and_the_search_goes_on(project: Project) -> None:
    failure = HienoError("the loss became nan", hint="lower it")
    trainer = Trainer(wrong=lambda number: failure if number == 1 else None)
    found, told = search(project, trainer, trials=2)
    assert [trial.state for trial in found.trials] == ["done", "failed", "done"]
    assert "trial 1 failed: the loss became nan" in told.lines


def test_three_failures_in_a_row_end_the_search(project: Project) -> None:
    failure = HienoError("the loss became nan", hint="lower it")
    trainer = Trainer(wrong=lambda number: failure if number else None)
    with pytest.raises(HienoError, match="the loss became nan"):
        search(project, trainer)
    assert len(trainer.tried) == 4


def test_a_budget_that_is_too_small_for_one_trial_says_so(project: Project) -> None:
    with pytest.raises(TryLater) as caught:
        search(project, Trainer(), budget=4)
    assert caught.value.message == (
        "the budget ended before the first trial did; its training is kept"
    )


def test_trials_never_read_what_the_project_holds_out(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "hieno.yaml").write_text(
        "name: desk\nmodel: ./base\n"
        "data: {source: chats.csv, test: heldout.jsonl, replay: general.jsonl}\n",
        encoding="utf-8",
    )
    project = open_project(tmp_path)
    inner = project_of(project, tmp_path / "dataset", tmp_path / "place")
    assert inner.config.data.source == str(tmp_path / "dataset" / "train.jsonl")
    assert inner.config.data.test is None
    assert inner.config.data.replay == str(tmp_path / "general.jsonl")
    assert inner.config.model == str(tmp_path / "base")
    assert inner.config.train.evaluate == "epoch"
    assert inner.config.mlflow.experiment == "desk-tune"
    assert "heldout" not in inner.config.model_dump_json()

    named = open_project(tmp_path, flags={"data.dev": "dev.jsonl"})
    inner = project_of(named, tmp_path / "dataset", tmp_path / "place")
    assert inner.config.data.test == str(tmp_path / "dev.jsonl")


@pytest.mark.parametrize(("share", "kept"), [(1.0, [0, 1, 2, 3]), (0.5, [0, 2]), (0.0, [])])
def test_a_share_of_the_general_data_is_from_all_over(share: float, kept: list[int]) -> None:
    rows: list[dict[str, Any]] = [{"input_ids": [i]} for i in range(4)]
    assert [row["input_ids"][0] for row in spread(rows, share)] == kept


def test_a_budget_that_is_no_time_is_refused() -> None:
    result = CliRunner().invoke(hieno, ["tune", "--budget", "30 minutes"])
    assert result.exit_code == 2
    assert "'30 minutes' is no time; write 30m, 90s or 1h30m" in result.stderr
