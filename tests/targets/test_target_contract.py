"""What every target must do, asked of each: this machine, and Azure as the emulator has it.

Stages are in the end-to-end tests; here it is versions, the endpoint and the way to it. Containers
are stand-ins, everything else is real: Azure's client libraries, the gateway, the blobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from emulator.cloud import Cloud
from hieno.endpoint import control
from hieno.errors import HienoError, MissingInput, UsageError
from hieno.project import Project, open_project
from hieno.targets import Target, open_target
from standing import emulated, make_base, make_project, register, stand_ins


@dataclass
class Place:
    """A project and its target, and what was said."""

    project: Project
    target: Target
    said: list[str] = field(default_factory=list)

    def deploy(self, number: int) -> None:
        self.target.deploy(
            register(self.project, number),
            base=make_base(self.project.root / "base"),
            say=self.said.append,
        )

    def is_served(self, number: int) -> bool:
        return self.target.serving(register(self.project, number)) is not None

    def answers(self) -> str:
        """Ask whoever gets the traffic for its version."""
        found = self.target.connect()
        with httpx.Client(trust_env=False, timeout=30) as client:
            answer = client.post(
                f"{found.url}/score",
                json={},
                headers={"authorization": f"Bearer {found.key.get_secret_value()}"},
            )
        answer.raise_for_status()
        return str(answer.json()["name"])


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with emulated(tmp_path_factory.mktemp("azure")) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def _stand_ins() -> Iterator[None]:
    with stand_ins():
        yield


@contextmanager
def opened(folder: Path, target: str, name: str) -> Iterator[Place]:
    project = make_project(folder / "project", target, name)
    made = Place(project, open_target(project))
    try:
        yield made
    finally:
        made.target.down()


@pytest.fixture(params=["local", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A project of which nothing is deployed."""
    if request.param == "azure":
        request.getfixturevalue("cloud")
    with opened(tmp_path, request.param, "books") as made:
        yield made


@pytest.fixture(scope="module", params=["local", "azure"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A project whose first version serves, and goes on."""
    if request.param == "azure":
        request.getfixturevalue("cloud")
    with opened(tmp_path_factory.mktemp("served"), request.param, "papers") as made:
        made.deploy(1)
        yield made


def test_nothing_deployed_is_said_so(place: Place) -> None:
    assert place.target.endpoint() is None
    assert place.target.serving(register(place.project, 1)) is None
    for ask in (place.target.address, place.target.connect):
        with pytest.raises(MissingInput) as caught:
            ask()
        assert caught.value.message == "there is no endpoint 'books' yet"
        assert caught.value.hint == "`hieno up` makes it"
    assert place.target.down() == []


def test_versions_come_and_go_back_without_a_gap(place: Place) -> None:
    place.deploy(1)
    assert place.answers() == "1"
    assert place.is_served(1)
    assert not place.is_served(2)

    place.deploy(1)
    assert place.said[-1] == "blue serves version 1: nothing to do"

    place.deploy(2)
    assert place.answers() == "2"
    assert "green has 50% of the traffic" in place.said
    assert not place.is_served(1)

    place.target.rollback(say=place.said.append)
    assert place.answers() == "1"
    assert place.is_served(2), "what was taken back by hand stays taken back"
    place.deploy(2)
    assert place.said[-1] == "the traffic stays as it was set by hand; `hieno traffic` shows it"
    assert place.answers() == "1"

    place.target.rollback(say=place.said.append)
    assert place.answers() == "2"


def test_a_version_that_does_not_start_takes_nothing_away(place: Place) -> None:
    place.deploy(1)
    with pytest.raises(HienoError) as caught:
        place.deploy(9)
    assert caught.value.message.startswith("green (version 9) did not start: ")
    assert "the weights are broken" in caught.value.message
    assert place.answers() == "1"
    found = place.target.endpoint()
    assert found is not None
    assert set(found.deployments) - {"base"} == {"blue"}
    assert not place.is_served(9)


def test_copies_go_to_a_version_without_traffic_until_the_next_deployment(place: Place) -> None:
    both = {"endpoint.steps": [50]}  # so that the one before goes on
    place.project = open_project(place.project.root, flags=both)
    place.target = open_target(place.project)
    place.deploy(1)
    place.deploy(2)
    shares = {"blue": 100, "green": 0}
    with pytest.raises(UsageError, match="green has traffic of its own"):
        place.target.traffic({"blue": 50, "green": 50}, mirror={"green": 10}, say=print)
    found = place.target.traffic(shares, mirror={"green": 50}, say=place.said.append)
    assert (found.traffic.get("green", 0), found.mirror) == (0, {"green": 50})
    assert {place.answers() for _ in range(5)} == {"1"}
    place.deploy(3)
    now = place.target.endpoint()
    assert now is not None
    assert (now.traffic, now.mirror) == ({"blue": 50, "green": 50}, {})
    assert now.deployments["green"].version == "3"


def test_keys_are_renewed_one_at_a_time_while_it_answers(served: Place) -> None:
    before = served.target.keys()
    after = served.target.regenerate("primary")
    assert after.primary != before.primary
    assert after.secondary == before.secondary
    assert served.target.keys() == after
    assert served.answers() == "1"


def test_a_key_that_a_teammate_renewed_reaches_the_gateway_with_up(
    cloud: Cloud, tmp_path: Path
) -> None:
    del cloud
    with opened(tmp_path, "azure", "shared") as place:
        place.deploy(1)
        mate = open_target(make_project(tmp_path / "clone", "azure", "shared"))
        mate.regenerate("primary")
        control.down(tmp_path / "clone" / ".hieno" / "endpoint" / "shared")
        assert not place.is_served(1)
        place.deploy(1)
        assert place.answers() == "1"
        assert place.is_served(1)


def test_shares_that_make_no_sense_change_nothing(served: Place) -> None:
    for shares in ({"blue": 90}, {"red": 100}):
        with pytest.raises(UsageError, match="does not divide the traffic of blue"):
            served.target.traffic(shares, mirror={}, say=served.said.append)
    found = served.target.endpoint()
    assert found is not None
    assert found.traffic == {"blue": 100}


def test_what_a_deployment_says_can_be_read(served: Place) -> None:
    assert served.answers() == "1"
    assert any("/score" in line for line in served.target.logs("gateway", lines=5))
    with pytest.raises(MissingInput, match="has no log of 'red'"):
        served.target.logs("red", lines=5)


def test_down_stops_everything_and_up_brings_it_back(place: Place) -> None:
    place.deploy(1)
    assert place.target.down()
    assert place.target.down() == []
    assert not place.is_served(1)
    place.deploy(1)
    assert place.answers() == "1"
