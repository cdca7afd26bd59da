"""Bring a version in beside what serves, as on this machine: proven before it gets traffic.

    blue serves -> green starts -> is asked -> gets more and more traffic -> blue is removed

While green is tried, a tag of the endpoint says so: whoever comes next, after a crash too, knows
which of the two was proven.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol  # Any: a deployment of a library that is imported late

from hieno.endpoint.state import COLOURS, mirror_problems
from hieno.endpoint.watch import Guard
from hieno.errors import (
    AccessDenied,
    HienoError,
    MissingInput,
    TryLater,
    UsageError,
    UserError,
)
from hieno.reporting import duration
from hieno.targets.azure import scaling, serving
from hieno.targets.azure.client import Workspace
from hieno.targets.azure.failures import explained
from hieno.targets.azure.serving import NEWEST, PREVIOUS, ROLLING, SCALE, TOOK, Deployed, Seen
from hieno.targets.azure.specification import Spec

ASKED = 3  # questions at each step


class Examiner(Protocol):
    """Asks one deployment by its name; both return what is wrong, or nothing."""

    def examine(self, name: str) -> str:
        """Ask what the evaluation asked."""

    def ask(self, name: str) -> str:
        """Ask for one token."""


@dataclass(frozen=True)
class Rollout:
    """One change of who serves; `spec_of` makes the specification of an earlier version."""

    workspace: Workspace
    examiner: Examiner
    guard: Guard
    spec_of: Callable[[int], Spec]
    say: Callable[[str], None]
    replaces: bool = False

    def deploy(self, spec: Spec) -> None:
        """Serve a specification; what serves goes on until the new one is proven.

        Raises `HienoError`, with everything as it was, where the new one does not work.
        """
        seen = self._settled(spec)
        live = seen.live()
        if live and seen.deployments[live].spec == spec.digest and seen.traffic[live] == 100:
            self.say(f"{live} serves version {spec.version}: nothing to do")
            self._change(newest=str(spec.version), rolling="")
            return
        if live and self.replaces:
            return self._replace(live, seen, spec)
        new = next(colour for colour in COLOURS if colour != live)
        self._change(rolling=new, retiring="")
        took = seen.tags.get(TOOK, "")
        try:
            if new not in seen.deployments:
                took = self._start(new, spec, live)
            if problem := self.examiner.examine(new):
                raise self._failed(new, spec, problem)
            if live:
                self._shift(new, live, spec)
        except BaseException:
            try:
                self._go_back(new, live)
            except HienoError as error:  # what went wrong first is what is raised
                self.say(f"{error.message}: the next `hieno up` or `hieno deploy` sees to it")
            raise
        self._settle(new, live, spec, seen, took)

    def rollback(self) -> None:
        """Give all traffic to the version before; it is started anew where it was removed."""
        seen = self._existing()
        live = seen.live()
        others = [n for n, one in seen.deployments.items() if n != live and one.state == "ready"]
        if others:
            [name] = others
            return self.move(seen, {name: 100})
        previous = seen.tags.get(PREVIOUS)
        if live is None or not previous:
            raise MissingInput(
                "the endpoint has had one deployment only",
                hint="`hieno status` shows it; there is nothing to go back to",
            )
        newest = seen.tags.get(NEWEST, "")
        self.say(f"version {previous} was removed when it was replaced: it starts anew")
        self.deploy(self.spec_of(int(previous)))
        self._change(newest=newest)  # so that the next deployment leaves it as it is

    def move(
        self, seen: Seen, shares: Mapping[str, int], mirror: Mapping[str, int] | None = None
    ) -> None:
        """Divide the traffic by hand; raises `UsageError` for shares that make no sense."""
        known = seen.deployments
        if sum(shares.values()) != 100 or not set(shares) <= set(known):
            raise UsageError(
                f"{_words(shares)} does not divide the traffic of {', '.join(sorted(known))}",
                hint=f"write whole percent that add up to 100, such as {min(known)}=100",
            )
        for problem in mirror_problems(mirror or {}, shares, known):
            raise UsageError(
                problem, hint=f"`hieno traffic {_words(shares)}` divides the traffic without copies"
            )
        for name, share in shares.items():
            if share > seen.traffic.get(name, 0) and (problem := self.examiner.ask(name)):
                raise HienoError(
                    f"{name} does not answer: {problem}", hint="the traffic stays as it was"
                )
        self._change(traffic=shares, mirror=mirror or {}, retiring="")
        self.say(f"the traffic is {_words(shares)}")

    def _settled(self, spec: Spec) -> Seen:
        """Return the endpoint without what a killed roll-out or a failed one has left."""
        seen = self._existing()
        live, rolling = seen.live(), seen.tags.get(ROLLING)
        if live and (seen.mirror or (rolling and seen.traffic != {live: 100})):
            self._change(traffic={live: 100}, mirror={})
        serves = seen.deployments[live].spec if live else ""
        for name, one in seen.deployments.items():
            if name == live:
                continue
            found = self._await(name) if one.state == "starting" else one
            wanted = not self.replaces and one.spec == spec.digest != serves
            if found is not None and not (wanted and found.state == "ready"):
                self.say(f"{name} (version {one.version}) is left over and is removed")
                self._remove(name, seen)
        return self._existing()

    def _await(self, name: str) -> Deployed | None:
        """Wait for a deployment that somebody else, or a killed command, has begun."""
        self.say(f"{name} is starting already")
        while (one := self._existing().deployments.get(name)) and one.state == "starting":
            time.sleep(serving.LOOK_SECONDS)
        return one

    def _start(self, name: str, spec: Spec, live: str | None) -> str:
        """Start a deployment; return how many seconds that took, as a tag has it."""
        self.say(f"{name} starts with version {spec.version}")
        instances = self._instances(spec, live)
        began = time.monotonic()
        try:
            with explained(f"starting {name}"):
                serving.create_deployment(self.workspace, name, spec, self.say, instances=instances)
        except (AccessDenied, TryLater):
            raise
        except HienoError as error:
            if live and "quota" in error.message.lower():
                raise UserError(
                    f"there is no quota for {name} beside {live}: {error.message}",
                    hint="ask for more (`hieno azure doctor` says how), choose a smaller "
                    "azure.endpoint.size, or `hieno deploy --replace`: nothing answers meanwhile",
                ) from error
            raise serving.died(self.workspace, name, spec, error.message) from error
        return f"{time.monotonic() - began:.1f}"

    def _instances(self, spec: Spec, live: str | None) -> int:
        """Return with how many it starts: it will have the load of what serves."""
        present = self._existing().deployments[live].instances if live else 0
        if present > spec.instances:
            self.say(f"it starts with {present} instances, as many as {live} has now")
        return max(present, spec.instances)

    def _shift(self, new: str, live: str, spec: Spec) -> None:
        for share in self.guard.steps:
            self._change(traffic={live: 100 - share, new: share})
            for _ in range(ASKED):
                if problem := self.examiner.ask(new):
                    raise self._failed(new, spec, f"failed at {share}% of the traffic: {problem}")
            self.say(f"{new} has {share}% of the traffic")

    def _settle(self, new: str, live: str | None, spec: Spec, before: Seen, took: str) -> None:
        last = self.guard.steps[-1] if live else 100
        shares = {new: 100} if last == 100 else {str(live): 100 - last, new: last}
        self._change(
            traffic=shares,
            rolling="",
            newest=str(spec.version),
            previous=before.deployments[live].version if live else "",
            retiring=str(live) if live and last == 100 else "",
            took=took,
        )
        self.say(f"{new} serves version {spec.version}: {_words(shares)}")
        if live and last == 100:
            self.say(f"{live} is removed: it would be billed")
            self._remove(live, before)

    def _replace(self, live: str, seen: Seen, spec: Spec) -> None:
        """Put a specification in the place of another, with nothing serving meanwhile."""
        old, told = seen.deployments[live].version, seen.tags.get(TOOK)
        long = f"took {duration(float(told))} the last time" if told else "takes minutes"
        self.say(
            f"version {old} is removed first: nothing answers until the new one is ready, which"
            f" {long}"
        )
        with explained(f"reading {live}"):
            kept = serving.find_deployment(self.workspace, live)
        rules = {"scale": scaling.CHANGING} if seen.tags.get(SCALE) else {}  # they go with it
        self._change(traffic={}, rolling=live, **rules)
        self._remove(live, seen)
        try:
            took = self._start(live, spec, None)
            if problem := self.examiner.examine(live):
                raise self._failed(live, spec, problem)
        except HienoError as error:
            self.say(f"{error.message}; version {old} is started again")
            self._bring_back(live, kept, seen)
            raise
        self._settle(live, None, spec, seen, took)
        self._change(previous=old)

    def _bring_back(self, name: str, kept: Any, seen: Seen) -> None:
        """Start what was removed as it was, also where the settings are others by now."""
        if name in self._existing().deployments:
            self._remove(name, seen)
        with explained(f"starting {name} again"):
            serving.start_again(self.workspace, kept, self.say)
        self._change(traffic={name: 100}, rolling="")

    def _go_back(self, new: str, live: str | None) -> None:
        self._change(traffic={live: 100} if live else {}, mirror={}, rolling="")
        seen = self._existing()
        if new not in seen.deployments:
            return
        if seen.deployments[new].state == "starting":  # Azure removes nothing that it still makes
            self.say(f"{new} goes on starting: deploy again to go on with it; `hieno down` ends it")
            return
        self._remove(new, seen)

    def _remove(self, name: str, seen: Seen) -> None:
        with explained(f"removing {name}"):
            scaling.remove(self.workspace, seen, name)
            if self._rest(name):
                serving.delete_deployment(self.workspace, name)

    def _rest(self, name: str) -> bool:
        """Wait until Azure is done with a deployment; tell whether it is still there."""
        said = False
        while (one := self._existing().deployments.get(name)) and one.doing:
            if not said:
                self.say(f"{name} is {one.doing}: it is removed when that is done")
                said = True
            time.sleep(serving.LOOK_SECONDS)
        return one is not None

    def _change(self, **what: object) -> None:
        with explained("changing the endpoint"):
            serving.change(self.workspace, **what)  # type: ignore[arg-type]  # its own keywords

    def _existing(self) -> Seen:
        with explained("reading the endpoint"):
            seen = serving.read(self.workspace)
        if seen is None:
            name = self.workspace.names.endpoint
            raise MissingInput(f"there is no endpoint '{name}' yet", hint="`hieno up` makes it")
        return seen

    def _failed(self, name: str, spec: Spec, problem: str) -> HienoError:
        return HienoError(
            f"{name} (version {spec.version}) {problem}",
            hint="correct it, then deploy again; what served before goes on",
        )


def _words(shares: Mapping[str, int]) -> str:
    return " ".join(f"{name}={share}" for name, share in shares.items()) or "no share"
