"""Every call of `target: azure` goes wrong, in every way that makes sense there, and ends right.

One project lives in one emulated Azure: each of its commands (a job, a registration, a roll-out
from nothing and beside another version, a look, `down`) is recorded once, then typed again for each
call and each fault, with a new version where the last is done. No model is trained; `course.py`
tells what stands in for what.

Where a command stops, it is one error of ours with a hint and an exit code, and the same command
goes on. Afterwards nothing was made twice, and nothing is billed but what serves; in the end,
nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest

import pytest
from click.testing import CliRunner
from course import Course, quick, recorded

from emulator.settings import Settings
from hieno.cli.commands import hieno
from hieno.errors import HienoError
from standing import emulated

REGION, SIZE = "eastus2", "Standard_E4s_v3"
OTHERS = 18  # instances of somebody else, which leave room for one of ours
TRIES = 3
MOST_LINES = 7  # of a message: what happened, and a container's last words

# What does not answer a call, and what answers too late, by the command that meets it.
BEHIND = {
    "train": ["preempt when=half"],
    "package": [
        "build-image at=*hieno-serve*",
        "late-role at='*/Storage Blob Data Contributor' times=2",
        "late-role at='id-books-jobs/Storage Blob Data Contributor'",
        "slow at=*/jobs/package-* polls=20",
    ],
    "register": [],
    "deploy": [
        "build-image at=*hieno-container*",
        "crash at=*/deployments/*",
        "late-role at=AcrPull",
        "late-role at='Storage Blob Data Reader'",
        "slow at=*/deployments/* polls=5",
        "slow at=*/onlineEndpoints/books-zasnot polls=5",
        "lost-poll at=*/deployments/*",
        "lost-poll at=*/onlineEndpoints/books-zasnot",
        "fail-operation at=*/deployments/* message=broken",
        "fail-operation at=*/onlineEndpoints/books-zasnot message=broken",
    ],
    "show": ["slow at=*/onlineEndpoints/* polls=5"],
    "down": [
        "slow at=*/onlineEndpoints/* polls=5",
        "lost-poll at=*/onlineEndpoints/*",
        "fail-operation at=*/onlineEndpoints/* message=broken",
    ],
}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """A project whose first version serves; in the end nothing of it is left or billed."""
    folder = tmp_path_factory.mktemp("course")
    owner = Settings(caller_roles=("Owner",))  # the role for data is given by `azure up`
    with emulated(folder / "azure", owner) as cloud, quick():
        made = Course.begin(folder / "project", cloud)
        _advance(made)
        yield made
        made.target.pull(made.version())
        made.down()
        words = ["azure", "down", "--yes", "books", "--project", str(made.root)]
        gone = CliRunner().invoke(hieno, words)
        assert gone.exit_code == 0, gone.output
        assert cloud.ledger.running() == []


# One of each kind; the campaign below has them at every call.
@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("package", "error at=PUT:*/jobs/*"),
        ("package", "conflict at=PUT:*/jobs/*"),
        ("package", "lost-answer at=PUT:*/jobs/*"),
        ("package", "cut at=GET:*/runs/*/details"),
        ("package", "throttle at=GET:*/runs/*/details retry_after=1"),
        ("package", "unavailable at=PUT:*.blob.core.windows.net/*"),
        ("package", "late-role at='*/Storage Blob Data Contributor' times=2"),
        ("package", "late-role at='id-books-jobs/Storage Blob Data Contributor'"),
        ("package", "build-image at=*hieno-serve*"),
        ("package", "slow at=*/jobs/package-* polls=10"),
        ("train", "preempt when=half"),
        ("register", "missing-role at=PUT:*/models/*"),
        ("deploy", "lost-poll at=*/deployments/*"),
        ("deploy", "fail-operation at=*/deployments/* message=broken"),
        pytest.param("deploy", "crash at=*/deployments/*", marks=pytest.mark.slow),
        pytest.param("deploy", "quota", marks=pytest.mark.slow),
        pytest.param("down", "conflict at=DELETE:*/onlineEndpoints/*", marks=pytest.mark.slow),
    ],
)
def test_a_fault_of_each_kind_ends_right(course: Course, command: str, fault: str) -> None:
    course.number += 1
    if command in CHANGING:
        for name in CHANGING[: CHANGING.index(command)]:
            _meets(course, name)
    _meets(course, command, fault)
    if command == "down":
        _meets(course, "deploy")


@pytest.mark.slow
def test_whatever_call_fails_in_whatever_way_the_end_is_the_same(course: Course) -> None:
    course.number += 1
    calls = {name: recorded(course.cloud, _command(course, name)) for name in CHANGING}
    calls["show"] = recorded(course.cloud, course.show)
    calls["down"] = recorded(course.cloud, course.down)
    calls["begin"] = recorded(course.cloud, course.deploy)
    told: list[str] = []
    seen: set[str] = set()
    planned = {name: list(_faults(name, made, seen)) for name, made in calls.items()}
    for faults in zip_longest(*(planned[name] for name in (*CHANGING, "show")), fillvalue=""):
        course.number += 1
        for name, fault in zip((*CHANGING, "show"), faults, strict=True):
            told += _meets(course, name, fault)
    for ending, beginning in zip_longest(planned["down"], planned["begin"], fillvalue=""):
        told += _meets(course, "down", ending)
        told += _meets(course, "deploy", beginning)
    told += _meets(course, "train", "preempt when=half")
    print("\n".join(["stopped with a message and went on:", *told]))
    assert told  # not everything is something that Azure's clients get over by themselves


CHANGING = ("package", "register", "deploy")


def _faults(command: str, calls: Mapping[str, int], seen: set[str]) -> Iterator[str]:
    """Return every way in which a command may be hit.

    What changes something is hit each time that it is called: the command stops at every point of
    its way. What opens every command is hit once, and so is what a roll-out asks.
    """
    for call, times in calls.items():
        opening = re.search(r"login\.|/workspaces/[\w-]+$|/datastores/|/listSecrets$", call)
        asked = command == "begin" and call.startswith("GET")
        if call in seen and (opening or asked):
            continue
        seen.add(call)
        yield from (f"{kind} at='{call}'" for kind in _ways(call))
        if call.startswith(("PUT:management", "DELETE:management")):
            yield from (f"conflict at='{call}' after={number}" for number in range(1, times))
    yield from BEHIND["deploy" if command == "begin" else command]


def _ways(call: str) -> list[str]:
    """Return what may go wrong with a call: refused, too early, its answer lost, no role yet."""
    if call.startswith("GET") or "/listKeys" in call or "/getLogs" in call:
        polls = "/operationStatuses/" in call or "/details" in call
        return ["cut", *(["error", "throttle"] if polls else [])]
    if "management" in call:
        return ["error", "lost-answer", "conflict", "throttle", "missing-role"]
    return ["error", "lost-answer", "missing-role" if ".blob." in call else "throttle"]


def _meets(course: Course, command: str, fault: str = "") -> list[str]:
    """Type a command until it ends well; return what it told if it stopped before."""
    before = len(course.cloud.faults.met())
    if fault == "quota":
        course.cloud.quota.take("somebody", REGION, SIZE, OTHERS, endpoint=True)
    elif fault:
        course.cloud.faults.add(fault)
    told = _settles(course, command, fault)
    course.cloud.faults.clear()
    met = bool(told) if fault == "quota" else len(course.cloud.faults.met()) > before
    assert met or not fault, f"{fault} was not met"
    _is_whole(course, command, fault)
    return told


def _settles(course: Course, command: str, fault: str) -> list[str]:
    told: list[str] = []
    for _ in range(TRIES):
        error = _stopped(_command(course, command))
        if error is None:
            return told
        told.append(f"{command}: {fault}: {error.exit_code} {error.message} [{error.hint}]")
        assert error.exit_code in (1, 2, 3), told
        assert error.hint, told
        assert len(error.message.splitlines()) <= MOST_LINES, told
        assert not re.search(r"Traceback|\w+Error\(|\(0 bytes| object at ", error.message), told
        course.cloud.quota.release("somebody")
    raise AssertionError("\n".join(told))


def _stopped(command: Callable[[], None]) -> HienoError | None:
    """Type a command; return the error of ours that it stopped with. Any other is a failure."""
    try:
        command()
    except HienoError as error:
        return error
    return None


def _is_whole(course: Course, command: str, fault: str) -> None:
    """Nothing was made twice, and nothing is billed but what serves."""
    assert course.active() == [], fault
    assert set(course.jobs().values()) == {1}, fault
    assert course.models() == course.registered() == list(range(1, len(course.models()) + 1)), fault
    assert len(course.deployments()) == (0 if command == "down" else 1), fault


def _advance(course: Course) -> None:
    course.number += 1
    for name in CHANGING:
        _command(course, name)()


def _command(course: Course, name: str) -> Callable[[], None]:
    return {
        "train": course.train,
        "package": course.package,
        "register": course.register,
        "deploy": course.deploy,
        "show": course.show,
        "down": course.down,
    }[name]
