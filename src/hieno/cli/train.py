"""Fine-tune, or say first what that will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, reporter
from hieno.cli.stages import bring_up

if TYPE_CHECKING:
    from hieno.project import Project


@click.command()
@click.option(
    "--plan", is_flag=True, help="Only say what it will take: tokens, steps, time and memory."
)
@project_options("train")
def train(project: Project, plan: bool, as_json: bool) -> None:
    """Fine-tune the model on them."""
    if not plan:
        return bring_up(project, until="train", as_json=as_json)
    from hieno import describe, pipeline

    telling = reporter()
    try:
        facts = pipeline.estimate(project, reporter=telling)
    finally:
        telling.close()
    emit(facts, "\n".join(describe.estimate(facts)), as_json=as_json)
