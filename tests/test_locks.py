"""Locks: who comes second is told, and who comes later is let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from hieno import locks
from hieno.errors import Busy


def refusal() -> Busy:
    return Busy("somebody is at work", hint="wait")


def test_who_comes_second_is_refused_and_who_comes_later_is_let_in(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        locks.alone(lock, refusal),
        pytest.raises(Busy, match="somebody is at work"),
        locks.alone(lock, refusal),
    ):
        raise AssertionError("two are let in")
    with locks.alone(lock, refusal):
        pass
