"""Prepare a dataset, and look at its chats as the model learns them."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any  # Any: the flags of the section

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, is_colourful, reporter
from hieno.cli.stages import bring_up
from hieno.errors import UsageError

if TYPE_CHECKING:
    from hieno.data.inspection import Shown
    from hieno.project import Project


@project_options("data")
def _prepare(project: Project, as_json: bool) -> None:
    bring_up(project, until="data", as_json=as_json)


@functools.wraps(_prepare)
def _group(**flags: Any) -> None:
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        _prepare(**flags)
    elif any(flags.values()):
        name = context.invoked_subcommand
        raise UsageError(
            f"options stand behind `{name}`", hint=f"write `hieno data {name} --project DIR ...`"
        )


data = click.group("data", help="Check, clean and split your chats.", invoke_without_command=True)(
    _group
)


@data.command()
@click.option(
    "--chats", default=3, show_default=True, type=click.IntRange(1, 1000), help="How many to show."
)
@project_options()
def inspect(project: Project, as_json: bool, chats: int) -> None:
    """Show chats token by token, with the supervised ones marked.

    Green, or between » and « without colour, is what the model learns to write.
    """
    from pathlib import Path

    from hieno import pipeline
    from hieno.data.inspection import inspect as look
    from hieno.data.inspection import sample, stretches
    from hieno.package.layout import weights_folder

    telling = reporter()
    try:
        results = pipeline.run(project, until="data", reporter=telling)
    finally:
        telling.close()
    folders = {result.stage: Path(result.details["folder"]) for result in results}
    rows = sample(folders["data"] / "train.jsonl", chats)
    found = look(weights_folder(folders["model"]), rows)
    document = [
        {
            "tokens": len(shown.tokens),
            "supervised": shown.supervised,
            "stretches": [
                {"text": text, "supervised": learnt, "tokens": count}
                for text, learnt, count in stretches(shown)
            ],
        }
        for shown in found
    ]
    emit({"chats": document}, "\n\n".join(map(_told, found)), as_json=as_json)


def _told(shown: Shown) -> str:
    from hieno.data.inspection import stretches

    colour = is_colourful(sys.stdout)
    parts = []
    for text, supervised, _ in stretches(shown):
        if not supervised:
            parts.append(text)
        elif colour:
            parts.append(click.style(text, fg="green", bold=True))
        else:
            parts.append(f"»{text}«")
    share = f"{shown.supervised} of {len(shown.tokens)} tokens are supervised ({shown.share:.0%})"
    return f"{share}\n{''.join(parts)}".rstrip()
