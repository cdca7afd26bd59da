"""Every call of `hieno azure up` and `down` goes wrong once: the end is the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from emulator.cloud import Cloud
from emulator.contract import deviations
from emulator.settings import Settings

Run = Callable[..., Result]

OWNER = Settings(caller_roles=("Owner",))


def _calls(cloud: Cloud) -> list[str]:
    """Return each kind of call to the management plane, as a fault's `at` names it."""
    made = [one for one in cloud.trace.exchanges if one.host == "management.azure.com"]
    names = [f"{one.method}:*{re.sub(r'.*/providers/', '/', one.path)}" for one in made]
    names = [re.sub(r"(?<=/)[0-9a-f-]{36}", "*", name) for name in names]
    # the providers are looked at one by one, with the same call
    return list(
        dict.fromkeys(re.sub(r"(?<=GET:\*/)Microsoft\.\w+$", "Microsoft.*", name) for name in names)
    )


def _ways(call: str) -> list[str]:
    """Return what may go wrong with a call: it fails, its answer is lost, or it comes too early."""
    early = [] if call.startswith("GET") else ["conflict"]
    return [f"{kind} at='{call}'" for kind in ("error", "cut", *early)]


def _made(cloud: Cloud) -> set[str]:
    return {one.id.key for one in cloud.resources.within(cloud.subscription + "/resourcegroups")}


def _settles(run: Run, *words: str) -> list[Result]:
    """Type a command until it ends well, at most three times; it says why it stopped."""
    results = []
    for _ in range(3):
        results.append(run(*words))
        if results[-1].exit_code == 0:
            return results
        assert results[-1].exit_code in (1, 2, 3), results[-1].output
        error, hint = results[-1].stderr.splitlines()[-2:]
        assert (error[:7], hint[:6]) == ("error: ", "hint: "), results[-1].stderr
    raise AssertionError(results[-1].stderr)


@pytest.mark.slow
@pytest.mark.usefixtures("blobs", "project")
def test_whatever_call_fails_in_whatever_way_up_and_down_come_to_the_same_end(
    run: Run, emulated: Any
) -> None:
    with emulated(OWNER) as cloud:
        assert run("up").exit_code == 0
        expected, up = _made(cloud), _calls(cloud)
        assert run("down", "--yes", "books").exit_code == 0
        down = [call for call in _calls(cloud) if call not in up]
    told = []
    for fault in (way for call in (*up, *down) for way in _ways(call)):
        with emulated(OWNER) as cloud:
            cloud.faults.add(fault)
            results = _settles(run, "up")
            assert _made(cloud) == expected, fault
            results += _settles(run, "down", "--yes", "books")
            assert cloud.faults.met(), fault
            assert cloud.ledger.running() == [], fault
            assert deviations(cloud) == []
            told += [fault] * any(one.exit_code for one in results)
    print("\n".join(["stopped with a message and went on:", *told]))
    assert told  # not everything is something that Azure's clients get over by themselves
