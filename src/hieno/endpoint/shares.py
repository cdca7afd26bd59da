"""The traffic by hand: divided as somebody says, or given back to the deployment before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from hieno.endpoint import rollout, state
from hieno.endpoint.control import EndpointStatus, existing
from hieno.endpoint.state import Desired
from hieno.errors import MissingInput, UsageError


def divide(
    folder: Path,
    shares: Mapping[str, int],
    *,
    mirror: Mapping[str, int] | None = None,
    wait: float = 600.0,
    say: Callable[[str], None] = lambda line: None,
) -> EndpointStatus:
    """Divide the traffic by hand, in percent that add up to 100; return what is then.

    A retired deployment that is named is started again and has answered before it gets any; one
    that is not named is retired. `mirror` is the one that gets copies, and how many in percent.
    Raises `UsageError` for shares that make no sense, and changes nothing then.
    """
    with state.locked(folder):
        before = rollout.settled(folder)
        if before is None:
            raise state.missing(folder)
        known = {**before.retired, **before.coloured()}
        if sum(shares.values()) != 100 or not set(shares) <= set(known):
            raise UsageError(
                f"{_words(shares)} does not divide the traffic of {', '.join(sorted(known))}",
                hint=f"write whole percent that add up to 100, such as {min(known)}=100",
            )
        wanted = replace(
            before,
            traffic=dict(shares),
            mirror=dict(mirror or {}),
            deployments={
                **{name: known[name] for name in shares},
                **{name: spec for name, spec in before.deployments.items() if name not in known},
            },
            retired={name: spec for name, spec in known.items() if name not in shares},
        )
        state.check(wanted)
        _move(folder, before, wanted, wait=wait, say=say)
    return existing(folder)


def roll_back(
    folder: Path, *, wait: float = 600.0, say: Callable[[str], None] = lambda line: None
) -> EndpointStatus:
    """Give all traffic to the deployment before; a second time leads forward again.

    It is started again where it was stopped, and must answer first. Raises `MissingInput` where
    there is none, or where its model is gone.
    """
    with state.locked(folder):
        before = rollout.settled(folder)
        if before is None:
            raise state.missing(folder)
        known = {**before.retired, **before.coloured()}
        now = before.newest if before.traffic.get(before.newest) else before.live()
        earlier = [name for name in known if name != now]
        if not earlier:
            raise MissingInput(
                f"the endpoint {folder.name} has had one deployment only",
                hint="`hieno status` shows it; there is nothing to go back to",
            )
        [name] = earlier
        others = {key: spec for key, spec in before.deployments.items() if key not in known}
        wanted = replace(
            before,
            traffic={name: 100},
            mirror={},
            deployments={name: known[name], **others},
            retired={key: spec for key, spec in known.items() if key != name},
        )
        _move(folder, before, wanted, wait=wait, say=say)
    return existing(folder)


def _move(
    folder: Path, before: Desired, wanted: Desired, *, wait: float, say: Callable[[str], None]
) -> None:
    """Move the traffic by hand; who gets more than before runs and has answered first."""
    gains = {
        name: share - before.traffic.get(name, 0)
        for name, share in wanted.traffic.items()
        if name not in before.deployments or share > before.traffic.get(name, 0)
    }
    if not gains:
        rollout.split(folder, wanted)
        say(f"the traffic is {_words(wanted.traffic)}")
        return
    name = max(gains, key=lambda name: gains[name])
    spec = wanted.deployments[name]
    if spec.root and not Path(spec.root).is_dir():
        raise MissingInput(
            f"the model of {name} (version {spec.version}) is gone: {spec.root}",
            hint="`hieno deploy` deploys the version that the project has now",
        )
    rollout.switch(folder, before, wanted, new=name, wait=wait, say=say)


def _words(shares: Mapping[str, int]) -> str:
    return " ".join(f"{name}={share}" for name, share in shares.items()) or "no share"
