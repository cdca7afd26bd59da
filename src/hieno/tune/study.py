"""Optuna's part: what to try next, what is hopeless, and the journal that survives a kill."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: settings of several types

from hieno.config import Config
from hieno.tune.space import present

if TYPE_CHECKING:
    from optuna import Study, Trial

JOURNAL = "trials.journal"
RANDOM = 4  # trials until the search leans on what it has seen
PATIENT = 2  # whole trials until one can be called hopeless


def open_study(folder: Path, config: Config) -> Study:
    """Open the search in a folder, or begin it with the project's own settings.

    What was running when the command ended is first in the queue: its training goes on from its
    last checkpoint.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    path = str(folder / JOURNAL)
    study = optuna.create_study(
        study_name=config.name,
        direction="maximize",
        storage=JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path))),
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=PATIENT),
    )
    known = study.get_trials(deepcopy=False)
    # another seed each time: a search that goes on would else propose what it proposed before
    study.sampler = optuna.samplers.TPESampler(
        seed=config.train.seed + len(known), n_startup_trials=RANDOM
    )
    if not known:
        study.enqueue_trial(present(config))
    for trial in known:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params or present(config))
    return study


def finish(study: Study, trial: Trial, score: float, **notes: Any) -> None:
    """Write down how a whole trial scored."""
    for name, value in notes.items():
        trial.set_user_attr(name, value)
    study.tell(trial, score)


def give_up(study: Study, trial: Trial, *, hopeless: bool) -> None:
    """Write down that a trial was stopped because others are better, or that it failed."""
    from optuna.trial import TrialState

    with warnings.catch_warnings():
        # a hopeless trial without a loss yet has no value, and needs none
        warnings.simplefilter("ignore", UserWarning)
        study.tell(trial, state=TrialState.PRUNED if hopeless else TrialState.FAIL)
