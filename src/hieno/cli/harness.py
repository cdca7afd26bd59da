"""Run a harness of somebody else's on the endpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, reporter, table

if TYPE_CHECKING:
    from hieno.project import Project


@click.command()
@click.argument("name", type=click.Choice(["lm-eval", "azure"]))
@project_options()
def harness(name: str, project: Project, as_json: bool) -> None:
    """Examine it with other people's harnesses.

    These are lm-evaluation-harness and azure-ai-evaluation. They ask the running endpoint.
    """
    from hieno import pipeline
    from hieno.cli.talk import endpoint_of
    from hieno.harness import Subject, examine

    url, key = endpoint_of(project)
    telling = reporter()
    try:
        results = pipeline.run(project, until="data", reporter=telling)
        telling.stage(name)
        found = examine(
            name,
            Subject(url, key, project.config.name, project.config.evaluate.max_new_tokens),
            test=Path(results[-1].details["folder"]) / "test.jsonl",
            folder=project.state / "harness" / name,
            say=telling.say,
        )
    finally:
        telling.close()
    rows = [[metric, f"{value:.4f}"] for metric, value in found.scores.items()]
    left = f", {found.left_out} left out: more than one question" if found.left_out else ""
    emit(asdict(found), f"{found.asked} chats asked{left}\n{table(rows)}", as_json=as_json)
