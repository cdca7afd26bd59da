"""What is searched around the project's settings: rank, learning rate, epochs, general data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any  # Any: settings of several types

from hieno.config import Config

if TYPE_CHECKING:
    from optuna import Trial

SEARCHED = frozenset({"rank", "alpha", "learning_rate", "epochs", "replay_share"})
SHARES = (0.25, 0.5, 1.0)  # of the replayed answers
REACH = 5.0  # times the learning rate, up and down


def suggest(trial: Trial, config: Config) -> dict[str, Any]:
    """Return a trial's settings for the section `train`.

    The adapter's strength (alpha over rank) stays as it is, so that the rank alone is compared.
    """
    train = config.train
    rate = trial.suggest_float(
        "learning_rate",
        train.learning_rate / REACH,
        min(1.0, train.learning_rate * REACH),
        log=True,
    )
    made: dict[str, Any] = {
        "learning_rate": _readable(rate),
        "epochs": _epochs(trial, train.epochs),
    }
    if train.method != "full":
        ranks = sorted(
            {max(1, train.rank // 4), max(1, train.rank // 2), train.rank, 2 * train.rank}
        )
        made["rank"] = trial.suggest_categorical("rank", [rank for rank in ranks if rank <= 1024])
        made["alpha"] = max(1, round(made["rank"] * train.alpha / train.rank))
    if config.data.replay:
        shares = sorted({*SHARES, train.replay_share})
        made["replay_share"] = trial.suggest_categorical("replay_share", shares)
    return made


def present(config: Config) -> dict[str, Any]:
    """Return the project's own settings as a trial: whatever wins has to be better than these."""
    train = config.train
    own: dict[str, Any] = {
        "learning_rate": train.learning_rate,
        "epochs": int(train.epochs) if _is_whole(train.epochs) else train.epochs,
    }
    if train.method != "full":
        own["rank"] = train.rank
    if config.data.replay:
        own["replay_share"] = train.replay_share
    return own


def snippet(settings: Mapping[str, Any]) -> str:
    """Return settings as they are written in `hieno.yaml`."""
    return "\n".join(["train:", *(f"  {key}: {value}" for key, value in settings.items())])


def _epochs(trial: Trial, present: float) -> float:
    if _is_whole(present):
        whole = int(present)
        return trial.suggest_int("epochs", max(1, whole // 2), 2 * whole)
    return trial.suggest_float("epochs", present / 2, present * 2, step=present / 2)


def _is_whole(value: float) -> bool:
    return math.isclose(value, round(value)) and value >= 1


def _readable(rate: float) -> float:
    return float(f"{rate:.2g}")
