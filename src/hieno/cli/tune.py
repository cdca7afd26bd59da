"""Search for better training settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any  # Any: click passes values of several types

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, reporter, table
from hieno.reporting import duration

if TYPE_CHECKING:
    from hieno.project import Project
    from hieno.tune import Found

_UNITS = {"h": 3600, "m": 60, "s": 1}


class Budget(click.ParamType[float]):
    """A time such as `30m` or `1h30m`, in seconds."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        found = re.findall(r"(\d+)([hms])", value)
        if not found or "".join(map("".join, found)) != value:
            self.fail(f"{value!r} is no time; write 30m, 90s or 1h30m", param, ctx)
        return float(sum(int(count) * _UNITS[unit] for count, unit in found))


@click.command()
@click.option(
    "--budget", type=Budget(), default="30m", show_default=True, help="How long to search."
)
@click.option("--trials", type=click.IntRange(1, 10_000), help="Stop when there are so many.")
@project_options()
def tune(budget: float, trials: int | None, project: Project, as_json: bool) -> None:
    """Search for better training settings.

    The winner is printed; hieno.yaml stays as it is.
    """
    from hieno.tune import tune as search

    telling = reporter()
    try:
        found = search(project, budget=budget, trials=trials, reporter=telling)
    finally:
        telling.close()
    emit(_document(found), _told(found), as_json=as_json)


def _document(found: Found) -> dict[str, Any]:
    return {
        "trials": [vars(trial) for trial in found.trials],
        "winner": vars(found.winner),
        "before": vars(found.before),
        "snippet": found.snippet,
        "folder": str(found.folder),
    }


def _told(found: Found) -> str:
    rows = [["trial", "score", "time", "settings"]]
    for trial in found.trials:
        score = trial.state if trial.score is None else f"{trial.score:.4f}"
        took = duration(trial.seconds) if trial.seconds else ""
        words = ", ".join(f"{key} {value}" for key, value in trial.settings.items())
        rows.append([f"{trial.number}", score, took, words])
    if found.winner.number == found.before.number:
        return f"{table(rows)}\n\nno trial was better than the settings that you have (trial 0)"
    return f"{table(rows)}\n\nthe best so far; write it into hieno.yaml:\n\n{found.snippet}"
