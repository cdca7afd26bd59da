"""Commands that fail in every way there is."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

import click

from hieno.errors import BadRow, Busy, GateFailed, Interrupted


def _bad_row() -> None:
    raise BadRow(Path("chats.jsonl"), line=17, problem="role is 'bot'", hint="use assistant")


def _busy() -> None:
    raise Busy("port 8000 is taken", hint="name another with --port")


def _gate() -> None:
    raise GateFailed("the loss rose from 1.2 to 1.4", hint="train with a smaller learning rate")


def _stopped() -> None:
    raise Interrupted("stopped after step 12", hint="type the same command to go on")


def _key_error() -> None:
    {}["a key that\nis not there"]


def _silent() -> None:
    raise RuntimeError


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/data/model")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _sleep() -> None:
    click.echo("asleep", err=True)
    time.sleep(600)


def _talk() -> None:
    for number in range(100_000):
        click.echo(f"line {number}")


def _print() -> None:
    print("kept back until the end")


WAYS: dict[str, Callable[[], None]] = {
    "bad-row": _bad_row,
    "busy": _busy,
    "gate": _gate,
    "stopped": _stopped,
    "key-error": _key_error,
    "silent": _silent,
    "full": _full,
    "interrupt": _interrupt,
    "sleep": _sleep,
    "talk": _talk,
    "print": _print,
}


@click.command()
@click.argument("way", type=click.Choice(list(WAYS)))
@click.option("--json", "as_json", is_flag=True)
def fail(way: str, as_json: bool) -> None:
    """Fail in one way."""
    WAYS[way]()
