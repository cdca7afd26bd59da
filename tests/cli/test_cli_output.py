"""Progress on terminals and pipes, tables, times, colour."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from cli_running import HIENO

from hieno import reporting
from hieno.cli import output
from hieno.cli.output import LineReporter, TerminalReporter


class Clock:
    """A clock that goes on only when told; real time is not tested with it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_a_line_every_ten_seconds_and_none_for_short_work() -> None:
    stream, clock = io.StringIO(), Clock()
    reporter = LineReporter(stream, clock)
    reporter.stage("data")
    for _ in range(19):
        clock.now += 0.1
        reporter.progress(1, 2, "chats")
    assert stream.getvalue() == ""
    reporter.stage("train")
    for step in range(1, 121):
        clock.now += 0.25
        reporter.progress(step, 560, "steps", f"loss {step / 100:.2f}")
    assert stream.getvalue() == (
        "train  8/560 steps  1%  loss 0.08  2:18 left\n"
        "train  48/560 steps  9%  loss 0.48  2:08 left\n"
        "train  88/560 steps  16%  loss 0.88  1:58 left\n"
    )


def test_time_left_counts_from_where_the_work_began_or_went_on() -> None:
    stream, clock = io.StringIO(), Clock()
    reporter = LineReporter(stream, clock)
    reporter.stage("train")
    for step in (100, 104, 110):  # resumed at 100: ten steps in twenty seconds
        reporter.progress(step, 120, "steps")
        clock.now += 10
    reporter.progress(1, 10, "answers")  # another count begins
    clock.now += 10
    reporter.progress(6, 10, "answers")
    assert stream.getvalue() == (
        "train  104/120 steps  87%  40.0 s left\n"
        "train  110/120 steps  92%  20.0 s left\n"
        "train  6/10 answers  60%  8.0 s left\n"
    )


def test_a_terminal_has_one_line_that_is_overwritten_and_taken_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream, clock = Terminal(), Clock()
    reporter = TerminalReporter(stream, clock)
    reporter.stage("train")
    reporter.progress(1, 4, "steps")
    assert stream.getvalue() == ""
    clock.now += 2
    reporter.progress(2, 4, "steps")
    reporter.progress(3, 4, "steps")  # too soon to be drawn
    clock.now += 1
    reporter.progress(4, 4, "steps")
    reporter.say("checkpoint 4")
    reporter.close()
    assert stream.getvalue() == (
        "\r\x1b[2Ktrain  2/4 steps  50%  2.0 s left"
        "\r\x1b[2Ktrain  4/4 steps  100%"
        "\r\x1b[2Kcheckpoint 4\n"
    )


def test_a_narrow_terminal_never_wraps_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream, clock = Terminal(), Clock()
    reporter = TerminalReporter(stream, clock)
    reporter.stage("a long name of work")
    reporter.progress(1, None, "chats")
    clock.now += 5
    reporter.progress(1_000, None, "chats")
    assert stream.getvalue() == "\r\x1b[2Ka long name of work"


def test_the_reporter_suits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(output.reporter(Terminal()), TerminalReporter)
    assert isinstance(output.reporter(io.StringIO()), LineReporter)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(output.reporter(Terminal()), LineReporter)


def test_work_without_a_known_end_shows_what_is_done() -> None:
    assert (
        output.progress_line("pull", 1_234_567, None, "bytes", "", None) == "pull  1,234,567 bytes"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (4.21, "4.2 s"), (59.9, "59.9 s"), (187, "3:07"), (3723, "1:02:03")],
)
def test_times_are_written_for_people(seconds: float, text: str) -> None:
    assert reporting.duration(seconds) == text


def test_tables_are_aligned_and_have_no_trailing_spaces() -> None:
    rows = [["train", "done", "loss 0.4"], ["evaluate", "current", ""]]
    assert output.table(rows) == "train     done     loss 0.4\nevaluate  current"
    assert output.table([]) == ""


@pytest.mark.parametrize(
    ("terminal", "environment", "colourful"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    terminal: bool,
    environment: dict[str, str],
    colourful: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert output.is_colourful(Terminal() if terminal else io.StringIO()) is colourful


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
@pytest.mark.parametrize("no_colour", ["", "1"])
def test_errors_are_coloured_on_a_real_terminal_unless_it_is_declined(
    no_colour: str, tmp_path: Path
) -> None:
    master, slave = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "NO_COLOR": no_colour}
    done = subprocess.run([*HIENO, "status"], stderr=slave, env=environment, check=False)
    os.close(slave)
    shown = os.read(master, 10_000).decode().replace("\r\n", "\n")
    os.close(master)
    assert done.returncode == 2
    message = f"there is no hieno.yaml in {tmp_path.resolve()} or above it"
    if no_colour:
        assert shown.startswith(f"error: {message}\nhint: ")
    else:
        assert shown.startswith(f"\x1b[31m\x1b[1merror:\x1b[0m {message}\n\x1b[36m\x1b[1mhint:")


def test_importing_the_output_loads_no_library_but_click() -> None:
    script = (
        "import sys, hieno.cli.output\n"
        "print([name for name in ('rich', 'pydantic', 'torch') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert done.stdout == "[]\n"
