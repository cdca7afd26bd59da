"""A roll-out may stop at any of its changes, and the command after it at another one.

All such pairs are walked through, which is why the endpoint is one in memory here: it takes what
Azure's would take and nothing else, and ends the command before or after a change. It shows that
the steps of a roll-out are in the right order, and nothing of Azure; the campaign does the same to
the emulator, call by call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from hieno.endpoint.watch import Guard
from hieno.errors import Busy, HienoError, Unreachable, UsageError
from hieno.targets.azure import serving
from hieno.targets.azure.rollout import Rollout
from hieno.targets.azure.serving import Deployed, Seen
from hieno.targets.azure.specification import Spec

CHANGES = 12  # more than a roll-out makes
LOOKS = 3  # until a deployment is ready whose beginning nobody heard of
NAMED = SimpleNamespace(names=SimpleNamespace(endpoint="books"))


@dataclass
class Endpoint:
    """An endpoint whose connection is lost at its `stop`-th change: before it, or after it."""

    traffic: dict[str, int] = field(default_factory=dict)
    mirror: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    deployments: dict[str, Deployed] = field(default_factory=dict)
    starting: dict[str, int] = field(default_factory=dict)
    stop: int | None = None
    afterwards: bool = False
    changes: int = 0
    unserved: bool = False  # whether there ever was a change after which nobody answered

    def read(self, _: object) -> Seen:
        for name in list(self.starting):
            self.starting[name] -= 1
            if not self.starting[name]:
                del self.starting[name]
                self.deployments[name] = replace(self.deployments[name], state="ready")
        return Seen("", self.traffic, self.mirror, self.tags, dict(self.deployments))

    def change(
        self,
        _: object,
        *,
        traffic: Mapping[str, int] | None = None,
        mirror: Mapping[str, int] | None = None,
        **tags: str,
    ) -> None:
        def change() -> None:
            if traffic is not None:
                self.traffic = {name: share for name, share in traffic.items() if share}
                assert set(self.traffic) <= set(self.deployments)
            if mirror is not None:
                self.mirror = dict(mirror)
            named = {**self.tags, **{f"hieno.{name}": value for name, value in tags.items()}}
            self.tags = {name: value for name, value in named.items() if value}

        self._do(change)
        self.unserved |= not self.traffic

    def create(self, _: object, name: str, spec: Spec, __: object, **___: Any) -> None:
        assert name not in self.deployments

        def begin() -> None:
            self.deployments[name] = Deployed(str(spec.version), spec.digest, "starting")
            self.starting[name] = LOOKS

        self._do(begin)
        del self.starting[name]
        self.deployments[name] = replace(self.deployments[name], state="ready")

    def again(self, _: object, kept: tuple[str, Deployed], __: object) -> None:
        name, deployed = kept
        self.create(None, name, spec(int(deployed.version)), None)

    def delete(self, _: object, name: str) -> None:
        assert name not in self.traffic
        if name in self.starting:
            raise Busy("it is being made", hint="later")
        self._do(lambda: self.deployments.pop(name))

    def _do(self, change: Callable[[], object]) -> None:
        self.changes += 1
        stops = self.changes == self.stop
        if not (stops and not self.afterwards):
            change()
        if stops:
            raise Unreachable("the connection is lost", hint="again")


@dataclass
class Asking:
    """Finds nothing wrong with a deployment that is ready."""

    endpoint: Endpoint

    def examine(self, name: str) -> str:
        return "" if self.endpoint.deployments[name].state == "ready" else "not ready"

    ask = examine


def spec(version: int) -> Spec:
    return Spec(version, "model", "image", "size", 1, 1.0, 1, {})


def is_served(endpoint: Endpoint, version: int) -> bool:
    """Tell what `hieno up` asks: whether there is nothing to do."""
    seen = endpoint.read(None)
    live = seen.live()
    return (
        live is not None
        and seen.is_settled()
        and seen.deployments[live].spec == spec(version).digest
    )


def roll_out(endpoint: Endpoint, *, replaces: bool = False, last: int = 100) -> Rollout:
    return Rollout(
        workspace=NAMED,  # type: ignore[arg-type]  # nobody calls it
        examiner=Asking(endpoint),
        guard=Guard(steps=(50, last)),
        spec_of=spec,
        say=lambda _: None,
        replaces=replaces,
    )


def deploy(endpoint: Endpoint, version: int, *, replaces: bool = False) -> bool:
    """Type `hieno up` once; tell whether it came to its end."""
    endpoint.changes = 0
    try:
        if not is_served(endpoint, version):
            roll_out(endpoint, replaces=replaces).deploy(spec(version))
    except HienoError:
        return False
    return True


def put(endpoint: Endpoint, patch: pytest.MonkeyPatch) -> Endpoint:
    """Put an endpoint in the place of Azure's."""
    for name in ("read", "change"):
        patch.setattr(serving, name, getattr(endpoint, name))
    patch.setattr(serving, "create_deployment", endpoint.create)
    patch.setattr(serving, "delete_deployment", endpoint.delete)
    patch.setattr(serving, "find_deployment", lambda _, name: (name, endpoint.deployments[name]))
    patch.setattr(serving, "start_again", endpoint.again)
    patch.setattr(time, "sleep", lambda _: None)
    return endpoint


def test_copies_end_with_the_next_deployment_also_where_the_traffic_is_as_it_should_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = put(Endpoint(), monkeypatch)
    assert deploy(endpoint, 1)
    roll_out(endpoint, last=60).deploy(spec(2))
    roll = roll_out(endpoint)
    with pytest.raises(UsageError, match="green has traffic of its own"):
        roll.move(endpoint.read(None), {"blue": 50, "green": 50}, {"green": 10})
    roll.move(endpoint.read(None), {"blue": 100, "green": 0}, {"green": 10})
    assert (endpoint.traffic, endpoint.mirror) == ({"blue": 100}, {"green": 10})
    assert deploy(endpoint, 3)
    assert (endpoint.traffic, endpoint.mirror) == ({"green": 100}, {})


@pytest.mark.parametrize("afterwards", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("replaces", [False, True], ids=["beside", "replaced"])
@pytest.mark.parametrize("before", [0, 1], ids=["nothing", "served"])
def test_wherever_a_roll_out_stops_twice_one_version_serves_in_the_end(
    monkeypatch: pytest.MonkeyPatch, before: int, replaces: bool, afterwards: bool
) -> None:
    stopped = 0
    for first in range(1, CHANGES):
        for second in range(CHANGES):
            endpoint = put(Endpoint(afterwards=afterwards), monkeypatch)
            if before:
                assert deploy(endpoint, before)
            endpoint.unserved = False
            ended = False
            for stop in (first, second or None, None):
                endpoint.stop = stop
                ended = ended or deploy(endpoint, 2, replaces=replaces)
                stopped += not ended
            where = (first, second, endpoint)
            assert ended, where
            assert [one.version for one in endpoint.deployments.values()] == ["2"], where
            assert endpoint.traffic == dict.fromkeys(endpoint.deployments, 100), where
            assert (endpoint.unserved and bool(before)) <= replaces, where
    assert stopped > CHANGES
