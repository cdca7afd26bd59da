"""What a command prints: data on stdout, talk and progress on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO  # Any: a JSON document

import click

from hieno.reporting import duration

QUIET_SECONDS = 2.0  # work that takes no longer shows no progress
LINE_SECONDS = 10.0  # at most one line in so many seconds where nothing can be overwritten
REDRAW_SECONDS = 0.1


class _Pace:
    """How fast the present count goes; one that begins anew, or in its middle, is a new one."""

    def __init__(self, now: float) -> None:
        self._began, self._first = now, 0.0
        self._last: float | None = None

    def passed(self, now: float) -> float:
        return now - self._began

    def left(self, done: float, total: float | None, now: float) -> float | None:
        """Return the seconds that are left, or None where nothing is known of them."""
        resumed = self._last is None and done > 1
        if resumed or (self._last is not None and done < self._last):
            self._began, self._first = now, done
        self._last = done
        counted = done - self._first
        if not total or counted <= 0 or done >= total:
            return None
        return self.passed(now) * (total - done) / counted


class TerminalReporter:
    """Keep one line at the bottom of a terminal up to date."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._name = ""
        self._pace = _Pace(clock())
        self._drawn = clock()
        self._visible = False

    def stage(self, name: str) -> None:
        self.close()
        self._name = name
        self._pace = _Pace(self._clock())

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
        now = self._clock()
        left = self._pace.left(done, total, now)
        recent = self._visible and now - self._drawn < REDRAW_SECONDS
        if self._pace.passed(now) < QUIET_SECONDS or recent:
            return
        self._drawn = now
        line = progress_line(self._name, done, total, unit, text, left)
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[2K{line[:width]}")
        self._stream.flush()
        self._visible = True

    def say(self, line: str) -> None:
        self.close()
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Take the progress line away."""
        if self._visible:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._visible = False


class LineReporter:
    """Write a plain line now and then, for logs and pipes."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._name = ""
        self._pace = _Pace(clock())
        self._written: float | None = None

    def stage(self, name: str) -> None:
        self._name = name
        self._pace = _Pace(self._clock())
        self._written = None

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
        now = self._clock()
        left = self._pace.left(done, total, now)
        recent = self._written is not None and now - self._written < LINE_SECONDS
        if self._pace.passed(now) < QUIET_SECONDS or recent:
            return
        self._written = now
        self.say(progress_line(self._name, done, total, unit, text, left))

    def say(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every line is already written."""


def reporter(stream: TextIO | None = None) -> TerminalReporter | LineReporter:
    """Return the reporter that suits where stderr goes."""
    chosen = sys.stderr if stream is None else stream
    overwrites = chosen.isatty() and os.environ.get("TERM") != "dumb"
    return TerminalReporter(chosen) if overwrites else LineReporter(chosen)


def progress_line(
    name: str, done: float, total: float | None, unit: str, text: str, left: float | None
) -> str:
    """Return one line such as `train  120/560 steps  21%  loss 0.412  1:50 left`."""
    parts = [name] if name else []
    if total:
        share = min(done / total, 1.0)
        parts += [f"{done:,.0f}/{total:,.0f} {unit}", f"{share:.0%}"]
    else:
        parts.append(f"{done:,.0f} {unit}")
    if text:
        parts.append(text)
    if left is not None:
        parts.append(f"{duration(left)} left")
    return "  ".join(parts)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns; the last column is as long as it likes."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


def emit(value: Any, text: str, *, as_json: bool) -> None:
    """Print a result: one JSON document, or text for people."""
    if as_json:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
    elif text:
        click.echo(text)


def is_colourful(stream: TextIO) -> bool:
    """Tell whether colour is wanted there (`NO_COLOR`, dumb terminals and pipes say no)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain
