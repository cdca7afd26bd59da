"""What a failed command says: two lines or one JSON document, and an exit code."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

import click

from hieno.errors import DiskFull, HienoError, Interrupted, is_disk_full


@dataclass(frozen=True)
class Failure:
    """An error as a user sees it."""

    type: str
    message: str
    hint: str
    exit_code: int


def report(error: BaseException, *, as_json: bool) -> int:
    """Print what went wrong and return the exit code.

    `HIENO_DEBUG=1` prints the traceback as well.
    """
    if isinstance(error, BrokenPipeError):
        _leave_quietly()
        return 1
    if os.environ.get("HIENO_DEBUG") == "1":
        traceback.print_exception(error)
    failure = describe(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        click.echo(error.format_message(), err=True)
    elif as_json:
        click.echo(json.dumps({"error": vars(failure)}, indent=2, ensure_ascii=False))
    else:
        _print(failure)
    return failure.exit_code


def describe(error: BaseException) -> Failure:
    """Return the failure that stands for any exception."""
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return Failure("Interrupted", "interrupted", "type the same command to go on", 130)
    if isinstance(error, HienoError):
        return Failure(type(error).__name__, error.message, error.hint, error.exit_code)
    if isinstance(error, click.ClickException):
        return _usage(error)
    if is_disk_full(error):
        where = getattr(error, "filename", None)
        return Failure(
            "DiskFull",
            f"no space left on the disk{f' of {where}' if where else ''}",
            "free some space, then type the same command again",
            DiskFull.exit_code,
        )
    return _unexpected(error)


def _usage(error: click.ClickException) -> Failure:
    message = error.format_message().rstrip(".")
    if isinstance(error, click.exceptions.NoSuchOption) and error.possibilities:
        message = f"{error.message} Did you mean '{error.possibilities[0]}'?"
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        message = "a command is missing"
    command = context.command_path if context else "hieno"
    lowered = message[:1].lower() + message[1:]
    return Failure("UsageError", lowered, f"`{command} --help` shows what is possible", 2)


def _unexpected(error: BaseException) -> Failure:
    name = type(error).__name__
    try:
        where = f"the traceback is in {_write_traceback(error)}"
    except OSError:
        where = "type the same command with HIENO_DEBUG=1 before it to see the traceback"
    text = " ".join(str(error).split())
    short = text if len(text) <= 300 else text[:300] + "..."
    message = f"{name}: {short}" if short else name
    return Failure(name, f"{message} (this is a defect of hieno)", where, 1)


def _write_traceback(error: BaseException) -> Path:
    text = "".join(traceback.format_exception(error))
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / ".hieno").is_dir() and os.access(folder / ".hieno", os.W_OK):
            path = folder / ".hieno" / "error.log"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            break
    else:
        descriptor, name = tempfile.mkstemp(prefix="hieno-error-", suffix=".log")  # mode 0600
        path = Path(name)
    with os.fdopen(descriptor, "w", encoding="utf-8") as log:
        log.write(text)
    return path


def _print(failure: Failure) -> None:
    if failure.exit_code == Interrupted.exit_code and failure.message == "interrupted":
        click.echo(f"interrupted: {failure.hint}", err=True)
        return
    click.echo(f"{_label('error:', 'red')} {failure.message}", err=True)
    click.echo(f"{_label('hint:', 'cyan')} {failure.hint}", err=True)


def _label(text: str, colour: str) -> str:
    from hieno.cli.output import is_colourful

    return click.style(text, fg=colour, bold=True) if is_colourful(sys.stderr) else text


def _leave_quietly() -> None:
    # The interpreter flushes stdout once more as it ends; let that go nowhere.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
