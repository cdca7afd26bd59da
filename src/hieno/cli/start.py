"""The first commands: make a project, see one at work, check the machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hieno.cli.options import json_option
from hieno.cli.output import emit, is_colourful, table

if TYPE_CHECKING:
    from hieno.doctor import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option(
    "--model",
    default="phi-3.5-mini",
    show_default=True,
    metavar="MODEL",
    help="A preset, a hub id such as microsoft/Phi-4-mini-instruct, or a local folder.",
)
@click.option(
    "--data",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Your chats, used where they are [default: an example to replace].",
)
@click.option("--name", help="The project's name [default: that of the folder].")
@json_option
def init(folder: Path, model: str, data: Path | None, name: str | None, as_json: bool) -> None:
    """Make a project in a new folder."""
    from hieno.scaffold import init as make

    written = make(folder, model=model, data=data, name=name)
    lines = [f"wrote {path}" for path in written]
    emit({"files": [str(path) for path in written]}, "\n".join(lines), as_json=as_json)
    go = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    click.echo(f"next: put your chats into it, then `{go}hieno up`", err=True)


@click.command()
@click.argument(
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="[DIR]",
    default="hieno-demo",
)
@json_option
@click.pass_context
def demo(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Show the whole way at work with a small model."""
    from hieno.cli.stages import bring_up
    from hieno.cli.talk import endpoint_of
    from hieno.demo import demo as make
    from hieno.demo import is_new, seconds
    from hieno.project import open_project

    root = make(folder)
    project = open_project(root)
    if is_new(project):
        minutes = seconds() / 60
        click.echo(f"the demo is in {root}; it takes about {minutes:.0f} minutes here", err=True)
    bring_up(project, until="flow", as_json=as_json)
    if sys.stdin.isatty() and sys.stdout.isatty() and not as_json:
        from hieno.chat import chat

        click.echo("ask your model something (/help for help, /exit to leave)\n", err=True)
        ctx.exit(chat(*endpoint_of(project)))


@click.command()
@click.option(
    "--project",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The project's folder [default: the nearest with a hieno.yaml].",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, folder: Path | None, as_json: bool) -> None:
    """Check this machine and this project."""
    from hieno.doctor import check

    findings = check(folder)
    healthy = all(found.state != "fail" for found in findings)
    document = {"ok": healthy, "findings": [vars(found) for found in findings]}
    emit(document, findings_table(findings), as_json=as_json)
    ctx.exit(0 if healthy else 2)


def findings_table(findings: Sequence[Finding]) -> str:
    """Return a line for each finding, and one below it where there is something to type."""
    rows = []
    for found in findings:
        rows.append([_coloured(found.state), found.name, found.text])
        if found.remedy:
            rows.append([_coloured("    "), "", f"-> {found.remedy}"])
    return table(rows)


def _coloured(state: str) -> str:
    padded = f"{state:<4}"
    if not is_colourful(sys.stdout):
        return padded
    return click.style(padded, fg=_COLOURS.get(state))
