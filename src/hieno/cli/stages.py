"""The commands that bring a project forward: each stage, all of them, what is done, and the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hieno.cli.options import FLAG, project_options
from hieno.cli.output import emit, reporter
from hieno.reporting import duration

if TYPE_CHECKING:
    from hieno.pipeline import StageResult
    from hieno.project import Project


def _stage(
    name: str, help: str, *, section: str | None = None, until: str = "", gated: bool = False
) -> click.Command:
    """Make the command that runs the pipeline up to and with one stage."""

    @project_options(section)
    def command(project: Project, as_json: bool, force: bool = False) -> None:
        bring_up(project, until=until or name, force=force, as_json=as_json)

    return click.command(name, help=help)(_FORCE(command) if gated else command)


_FORCE = click.option(
    "--force",
    is_flag=True,
    help="Let the model serve even if the gate says no; its lineage says so.",
)


_REPLACE = click.option(
    "--replace/--no-replace",
    f"{FLAG}azure__endpoint__replace",
    default=None,
    help="On Azure: remove the running version first, where there is no quota for both; nothing "
    "answers meanwhile.",
)


package = _stage("package", "Make the tuned model ready to be served.", section="package")
evaluate = _stage("evaluate", "Compare the tuned model with its base.", section="evaluate")
register = _stage("register", "Give the package a version.", section="gate", gated=True)
deploy = _REPLACE(
    _stage("deploy", "Put the version behind the endpoint.", section="endpoint", gated=True)
)
up = _stage("up", "Do whatever of all this is not done yet.", until="flow", gated=True)


@click.command()
@project_options()
def status(project: Project, as_json: bool) -> None:
    """Show what is done and what runs."""
    from hieno import pipeline

    found = pipeline.status(project)
    document = {"project": str(project.root), "stages": [asdict(result) for result in found]}
    lines = [*map(stage_line, found), *_ending(found)]
    emit(document, "\n".join(lines), as_json=as_json)


@click.command()
@click.option(
    "--idle",
    is_flag=True,
    help="On Azure: only an endpoint that has answered nobody for azure.endpoint.idle_hours.",
)
@project_options()
def down(project: Project, as_json: bool, idle: bool) -> None:
    """Stop what runs; nothing is deleted."""
    from hieno import pipeline

    if idle:
        stopped = pipeline.down_idle(project, say=lambda line: click.echo(line, err=True))
    else:
        stopped = pipeline.down(project)
    nothing = "nothing was stopped" if idle else "nothing was running"
    lines = [f"stopped {name}" for name in stopped] or [nothing]
    emit({"stopped": stopped}, "\n".join(lines), as_json=as_json)


def bring_up(project: Project, *, until: str, as_json: bool, force: bool = False) -> None:
    """Run the pipeline and print a line for each stage as it ends, or one document at the end."""
    from hieno import pipeline

    telling = reporter()

    def show(result: StageResult) -> None:
        telling.close()
        if not as_json:
            click.echo(stage_line(result))

    try:
        results = pipeline.run(project, until=until, force=force, reporter=telling, on_result=show)
    finally:
        telling.close()
    document = {"project": str(project.root), "stages": [asdict(result) for result in results]}
    closing = _ending(results) if until == "flow" else []
    emit(document, "\n".join(closing), as_json=as_json)


def _ending(results: Sequence[StageResult]) -> list[str]:
    from hieno.describe import ending

    lines = ending({result.stage: result.details for result in results if result.details})
    return ["", *lines] if lines else []


def stage_line(result: StageResult) -> str:
    """Return a stage with its state, the time that it took now, and its result."""
    took = duration(result.seconds) if result.state in ("done", "resumed") else ""
    return f"{result.stage:<8}  {result.state:<7}  {took:>7}  {result.summary}".rstrip()
