"""`hieno tune`: trial after trial until the budget ends, and the winner as a snippet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: settings are JSON

from hieno import pipeline
from hieno.errors import HienoError, Interrupted, TryLater, UserError
from hieno.files import digest_file, digest_json, write_atomic
from hieno.project import Project, locked
from hieno.registry import tracking
from hieno.reporting import Reporter
from hieno.tune import study as studies
from hieno.tune.space import SEARCHED, snippet, suggest
from hieno.tune.trial import Hopeless, Observer, OutOfTime, Result, forget, project_of, run

if TYPE_CHECKING:
    from optuna import Study, Trial

REVISION = 1  # raised when the same search would be done in another way
SNIPPET = "winner.yaml"
MOST_FAILURES = 3  # in a row
_STATES = {"COMPLETE": "done", "PRUNED": "stopped", "FAIL": "failed"}
Run = Callable[[Project, Mapping[str, Any], Observer], Result]


@dataclass(frozen=True)
class Tried:
    """One trial; `score` is None where it was stopped or failed."""

    number: int
    state: str
    score: float | None
    settings: Mapping[str, Any]
    seconds: float | None


@dataclass(frozen=True)
class Found:
    """What a search has found so far; trial 0 has the project's own settings."""

    folder: Path
    trials: tuple[Tried, ...]
    winner: Tried

    @property
    def before(self) -> Tried:
        """The project's own settings."""
        return self.trials[0]

    @property
    def snippet(self) -> str:
        """The winner as it is written in `hieno.yaml`."""
        return snippet(self.winner.settings)


class Budget:
    """The seconds that a search may take from now on, and how many trials it may have."""

    def __init__(
        self,
        seconds: float,
        trials: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self.trials = trials
        self._clock = clock
        self._began = clock()

    @property
    def passed(self) -> float:
        """The seconds that are gone."""
        return self._clock() - self._began


def tune(
    project: Project,
    *,
    budget: float,
    trials: int | None = None,
    reporter: Reporter,
    run: Run = run,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Search for better training settings for `budget` seconds, or until there are `trials`.

    Each trial is an ordinary training, scored by the gate's score on a development set; hopeless
    ones are stopped early. The same command later goes on where this one ended. Raises `TryLater`
    where the budget ended before the first trial did.
    """
    left = Budget(budget, trials, clock)
    results = pipeline.run(project, until="data", reporter=reporter)
    made = {result.stage: result.details for result in results}
    with locked(project):
        place = project.state / "tune" / _key(project, made)[:12]
        inner = project_of(project, Path(made["data"]["folder"]), place)
        reporter.stage("tune")
        return explore(inner, left, reporter, run)


def explore(project: Project, budget: Budget, reporter: Reporter, run: Run) -> Found:
    """Search in a project of its own (see `project_of`), and show its trials in MLflow."""
    study = studies.open_study(project.root, project.config)
    _Search(project, study, budget, reporter, run).go_on()
    found = _found(project.root, study)
    _show(project, study, reporter)
    return found


@dataclass
class _Search:
    project: Project
    study: Study
    budget: Budget
    reporter: Reporter
    run: Run

    def go_on(self) -> None:
        """Run trials until the budget ends."""
        failures = 0
        while not self._is_over():
            trial = self.study.ask()
            settings = suggest(trial, self.project.config)
            trial.set_user_attr("settings", settings)
            observer = Observer(self.reporter, self.project.runs, self._watching(trial))
            try:
                result = self.run(self.project, settings, observer)
            except OutOfTime:
                return  # it stays as running: the next call goes on with it
            except Hopeless:
                studies.give_up(self.study, trial, hopeless=True)
                forget(self.project)
                self.reporter.say(f"trial {trial.number} stopped: others were better by then")
            except (UserError, TryLater, Interrupted):
                raise  # nothing that other settings would mend
            except HienoError as error:
                failures += 1
                studies.give_up(self.study, trial, hopeless=False)
                forget(self.project)
                self.reporter.say(f"trial {trial.number} failed: {error.message}")
                if failures == MOST_FAILURES:
                    raise
            else:
                failures = 0
                notes = {"run": result.run, "seconds": result.seconds}
                studies.finish(self.study, trial, result.score, **notes)
                self.reporter.say(_line(trial.number, result.score, settings))

    def _is_over(self) -> bool:
        """Tell whether no further trial fits: by number, or by the time that they took so far."""
        ended = [t for t in self.study.get_trials(deepcopy=False) if t.state.is_finished()]
        done = [t for t in ended if t.state.name in ("COMPLETE", "PRUNED")]
        if self.budget.trials is not None and len(done) >= self.budget.trials:
            return True
        left = self.budget.seconds - self.budget.passed
        took = [t.user_attrs["seconds"] for t in done if "seconds" in t.user_attrs]
        # without a time to go by, or with one that was begun already, it is tried
        return left <= 0 or (bool(took) and left < min(took) / 2)

    def _watching(self, trial: Trial) -> Callable[[list[float], str], None]:
        told: set[int] = set()

        def look(losses: list[float], text: str) -> None:
            passed, most = self.budget.passed, self.budget.seconds
            if passed > most:
                raise OutOfTime
            self.reporter.progress(passed, most, "s", f"trial {trial.number}: {text}")
            for epoch, loss in enumerate(losses, start=1):
                if epoch not in told:
                    told.add(epoch)
                    trial.report(-loss, step=epoch)
                    if trial.should_prune():
                        raise Hopeless

        return look


def _key(project: Project, made: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what tells one search from another: everything but the settings that are searched."""
    config = project.config
    dev = config.data.dev
    return digest_json(
        {
            "revision": REVISION,
            "base": made["model"]["digest"],
            "dataset": made["data"]["digest"],
            "dev": digest_file(project.path(dev)) if dev else None,
            "cut": [config.data.seed, config.data.test_size],
            "train": config.train.model_dump(exclude=set(SEARCHED)),
            "evaluate": config.evaluate.model_dump(),
            "around": config.train.model_dump(include=set(SEARCHED)),
        }
    )


def _show(trials: Project, study: Study, reporter: Reporter) -> None:
    """Show the trials in MLflow, in an experiment of their own."""
    scores = {
        trial.user_attrs["run"]: trial.value
        for trial in study.get_trials(deepcopy=False)
        if trial.value is not None and "run" in trial.user_attrs
    }
    tracking.show(replace(tracking.place(trials), scores=scores), reporter)


def _found(place: Path, study: Study) -> Found:
    tried: list[Tried] = []
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished() or "settings" not in trial.user_attrs:
            continue
        again = [one for one in tried if one.settings == trial.user_attrs["settings"]]
        tried = [one for one in tried if one not in again or one.score is not None]
        score = trial.value if trial.state.name == "COMPLETE" else None
        seconds = trial.user_attrs.get("seconds")
        tried.append(
            Tried(
                trial.number,
                _STATES[trial.state.name],
                score,
                trial.user_attrs["settings"],
                seconds,
            )
        )
    whole = [one for one in tried if one.score is not None]
    if not whole:
        raise TryLater(
            "the budget ended before the first trial did; its training is kept",
            hint="type the same command again: it goes on from there",
        )
    # of several with the best score the first: the project's own settings, if they are among them
    winner = max(whole, key=lambda one: (one.score or 0.0, -one.number))
    found = Found(place, tuple(tried), winner)
    text = f"# score {winner.score} in trial {winner.number}\n{found.snippet}\n"
    write_atomic(place / SNIPPET, text)
    return found


def _line(number: int, score: float, settings: Mapping[str, Any]) -> str:
    words = ", ".join(f"{key} {value}" for key, value in settings.items())
    return f"trial {number}: score {score:.4f} with {words}"
