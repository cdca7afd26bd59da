"""`hieno data inspect` marks what is learnt, with colour or without."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from hieno.cli.commands import hieno
from hieno.cli.data import _told
from hieno.data.inspection import Shown

SHOWN = Shown((("<|user|>", False), ("hi", False), ("he", True), ("llo", True)), 2)


def test_supervised_tokens_stand_between_marks_without_colour() -> None:
    assert _told(SHOWN) == "2 of 4 tokens are supervised (50%)\n<|user|>hi»hello«"


def test_supervised_tokens_are_green_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hieno.cli.data.is_colourful", lambda stream: True)
    assert _told(SHOWN).endswith("<|user|>hi\x1b[32m\x1b[1mhello\x1b[0m")


def test_options_before_the_subcommand_are_refused_and_not_ignored() -> None:
    done = CliRunner().invoke(hieno, ["data", "--strict", "inspect"])
    assert done.exit_code == 2
    assert "options stand behind `inspect`" in done.stderr
    assert "write `hieno data inspect --project DIR ...`" in done.stderr
