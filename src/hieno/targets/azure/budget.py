"""What a job may cost and what it has cost: hours of its machines, at list price.

Azure knows no bound in money for a job, but one in time. So the money is turned into time before
the job starts, less what earlier attempts at the same result have cost. Where the list does not say
a price there is no such bound, and it is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any  # jobs of a library that is imported late

from hieno.config import Config
from hieno.errors import UserError
from hieno.reporting import Reporter
from hieno.targets.azure.client import Workspace
from hieno.targets.azure.prices import Price, Prices
from hieno.targets.azure.stream import Details, History

HOURLY, BUDGET = "hieno.hourly", "hieno.budget"  # of a job: what all its machines cost in an hour
LEAST_HOURS = 0.25  # in less a machine has not even fetched its image
TOLD = 10  # times that a budget is mentioned while it is spent


@dataclass(frozen=True)
class Allowance:
    """How long a job may run, what an hour of all its machines costs, and the money's bound."""

    hours: float
    hourly: Price
    budget: float | None

    @property
    def seconds(self) -> int:
        """The time limit as Azure takes it."""
        return round(self.hours * 3600)

    @property
    def tags(self) -> dict[str, str]:
        """What a job remembers of it, for whoever looks from elsewhere."""
        amount = self.hourly.amount
        told = {} if amount is None else {HOURLY: f"{amount:.6g} {self.hourly.currency}"}
        return told if self.budget is None else {**told, BUDGET: f"{self.budget:g}"}

    def __str__(self) -> str:
        text = f"it may take {self.hours:.3g} h"
        if self.hourly.amount is None:
            unbound = "; azure.cluster.budget cannot hold" if self.budget is not None else ""
            return f"{text}, and nobody knows what an hour costs{unbound}"
        return f"{text}, which cost {money(self.hourly, self.hours)} at list price"


def allow(
    config: Config,
    workspace: Workspace,
    nodes: int,
    earlier: Sequence[Any] = (),
    prices: Prices | None = None,
) -> Allowance:
    """Return how long a job may run on so many machines; `earlier` are attempts at its result.

    Raises `UserError` where what is left of the money is too little to begin with.
    """
    cluster = config.azure.cluster
    prices = prices or Prices(config.azure.location, config.azure.currency)
    hourly = prices.machine(cluster.size, low_priority=cluster.low_priority).times(nodes)
    if cluster.budget is None or not hourly.amount:
        return Allowance(cluster.hours, hourly, cluster.budget)
    spent = _spent(workspace, earlier, config, hourly.amount) if earlier else 0.0
    # A machine that has nothing to do any more is billed until it is given back.
    hours = (cluster.budget - spent) / hourly.amount - cluster.idle_minutes / 60
    if hours < min(LEAST_HOURS, cluster.hours):
        gone = f", and earlier attempts have cost {spent:.4g}" if spent else ""
        raise UserError(
            f"azure.cluster.budget is {cluster.budget:g} {hourly.currency}{gone}: at {hourly} that "
            f"pays for {max(0.0, hours * 60):.0f} minutes of work",
            hint="raise azure.cluster.budget, or choose a smaller azure.cluster.size",
        )
    return Allowance(min(cluster.hours, hours), hourly, cluster.budget)


def money(hourly: Price, hours: float) -> str:
    """Return what so many hours cost, in words."""
    amount = hourly.times(hours).amount
    return f"{'?' if amount is None else f'{amount:.4g}'} {hourly.currency}"


def so_far(tags: Mapping[str, str], created: str) -> str:
    """Say the most that a job can have cost since it was made; nothing where nobody knows."""
    if not tags.get(HOURLY) or not created:
        return ""
    amount, _, currency = tags[HOURLY].partition(" ")
    hourly = Price(float(amount), "hour", currency, "")
    spent = f"at most {money(hourly, _hours(created))} so far"
    return f"{spent}, of {tags[BUDGET]}" if tags.get(BUDGET) else spent


@dataclass
class Meter:
    """Tells while a job runs how much of its budget is spent, and at its end what it cost."""

    tags: Mapping[str, str]
    reporter: Reporter
    _told: int = field(default=0)

    def read(self, details: Details) -> None:
        """Say what is new: each tenth of the budget, and the whole at the end."""
        if not details.started or not self.tags.get(HOURLY):
            return
        amount, _, currency = self.tags[HOURLY].partition(" ")
        hours = _hours(details.started, details.ended)
        spent = float(amount) * hours
        if details.ended:
            self.reporter.say(f"it ran for {hours:.2f} h: {spent:.4g} {currency} at list price")
            return
        budget = float(self.tags.get(BUDGET) or 0)
        tenths = int(TOLD * spent / budget) if budget else 0
        if tenths > self._told:
            self._told = tenths
            self.reporter.say(f"spent {spent:.4g} of {budget:g} {currency}")


def _spent(workspace: Workspace, earlier: Sequence[Any], config: Config, present: float) -> float:
    """Return what earlier attempts have cost, each at the price of its own day."""
    idle = config.azure.cluster.idle_minutes / 60
    history, total = History(workspace), 0.0
    try:
        for job in earlier:
            details = history.details(job.name)
            if details.started:
                told = (job.tags or {}).get(HOURLY, "").partition(" ")[0]
                hours = _hours(details.started, details.ended) + idle
                total += (float(told) if told else present) * hours
    finally:
        history.close()
    return total


def _hours(start: str, end: str = "") -> float:
    """Return the hours between two of Azure's times, or from one to now."""
    began = datetime.fromisoformat(start)
    ended = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return max(0.0, (_utc(ended) - _utc(began)).total_seconds() / 3600)


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
