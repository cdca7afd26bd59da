"""The commands that ask a flow many lines: run, evaluate, migrate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hieno.cli.options import Function, project_options
from hieno.cli.output import emit, reporter, table
from hieno.cli.talk import endpoint_to_ask
from hieno.errors import GateFailed, MissingInput, UsageError

if TYPE_CHECKING:
    from hieno.flow import Batch, Parity
    from hieno.project import Project

FILE = click.Path(dir_okay=False, path_type=Path)


def _batch_options(function: Function) -> Function:
    for option in (
        click.option(
            "--column",
            "columns",
            multiple=True,
            metavar="INPUT=COLUMN",
            help="Take an input of the flow from that column of the rows; repeatable.",
        ),
        click.option("--fresh", is_flag=True, help="Ask every line anew."),
        click.argument("data", required=False, type=FILE),
    ):
        function = option(function)
    return function


@click.command()
@_batch_options
@project_options("flow", required=False)
@click.pass_context
def run(
    ctx: click.Context,
    data: Path | None,
    columns: tuple[str, ...],
    fresh: bool,
    project: Project,
    as_json: bool,
) -> None:
    """Ask the flow every line of a JSONL file.

    DATA holds rows with the flow's inputs, or chats; without it, the project's held-out chats. What
    was answered already is not asked again.
    """
    done = _run(project, _data(project, data), columns, fresh)
    emit(done.as_json(), table(_counts(done)), as_json=as_json)
    ctx.exit(0 if done.complete else 1)


@click.command()
@_batch_options
@project_options("flow", required=False)
@click.pass_context
def evaluate(
    ctx: click.Context,
    data: Path | None,
    columns: tuple[str, ...],
    fresh: bool,
    project: Project,
    as_json: bool,
) -> None:
    """Score the flow's answers with the evaluation flow.

    Asks what `run` has not asked yet. A line without an answer counts as a wrong one.
    """
    from hieno import flow as flows
    from hieno.flow import batch
    from hieno.flow.evaluation import FOLDER

    chosen = _data(project, data)
    done = _run(project, chosen, columns, fresh)
    folder = project.path(project.config.flow.path) / FOLDER
    scored = flows.evaluate(folder, done, say=reporter().say)
    batch.publish(done, chosen, folder.parent, scored.metrics)
    document = done.as_json() | {"metrics": scored.metrics, "unscored": scored.unscored}
    numbers = [[name, _number(value)] for name, value in scored.metrics.items()]
    emit(document, table([*_counts(done), *numbers]), as_json=as_json)
    ctx.exit(0 if done.complete else 1)


@click.command()
@click.option("--data", type=FILE, help="JSONL of the proof [default: the held-out chats].")
@click.option("--no-proof", is_flag=True, help="Write the agent project and ask nothing.")
@project_options("flow", required=False)
def migrate(data: Path | None, no_proof: bool, project: Project, as_json: bool) -> None:
    """Turn the prompt flow into an agent project and prove that both answer alike.

    Both are asked the same lines at temperature 0, and the answers are compared word for word.
    """
    from hieno import flow as flows

    config = project.config.flow
    source, target = project.path(config.path), project.path(config.agent_path)
    made = flows.migrate(source, target, name=project.config.name)
    lines = [f"wrote {path}" for path in made.scaffold.written]
    lines += [f"kept {path} (you changed it)" for path in made.scaffold.kept]
    lines += [f"not carried over: {what}" for what in made.unmapped]
    document: dict[str, Any] = {
        "written": [str(path) for path in made.scaffold.written],
        "kept": [str(path) for path in made.scaffold.kept],
        "unmapped": made.unmapped,
    }
    if no_proof:
        emit(document, "\n".join(lines), as_json=as_json)
        return
    if not as_json:
        click.echo("\n".join(lines))
    url, key = endpoint_to_ask(project)
    found = flows.compare(
        (source, target),
        _data(project, data),
        url,
        key,
        runs=_runs(project),
        workers=config.workers,
        reporter=reporter(),
    )
    emit(document | {"parity": found.as_json()}, _compared(found), as_json=as_json)
    if not found.proven:
        raise GateFailed(
            f"{found.lines - found.same} of {found.lines} lines have no answer in common",
            hint=f"look at {target}; the reports are in {_runs(project)}",
        )


def _run(project: Project, data: Path, columns: tuple[str, ...], fresh: bool) -> Batch:
    from hieno import flow as flows
    from hieno.flow.stage import folder_of

    url, key = endpoint_to_ask(project)
    return flows.run(
        folder_of(project),
        data,
        url,
        key,
        runs=_runs(project),
        model=_model(project, url),
        columns=_columns(columns),
        workers=project.config.flow.workers,
        retries=project.config.flow.retries,
        fresh=fresh,
        reporter=reporter(),
    )


def _runs(project: Project) -> Path:
    return project.state / "flow-runs"


def _data(project: Project, data: Path | None) -> Path:
    from hieno.files import read_manifest

    if data is not None:
        return data
    found = [(read_manifest(folder), folder) for folder in project.datasets.glob("*")]
    prepared = [(made.created, folder) for made, folder in found if made is not None]
    if not prepared:
        raise MissingInput(
            "there are no held-out chats yet", hint="name a file: `hieno flow run questions.jsonl`"
        )
    return max(prepared)[1] / "test.jsonl"


def _model(project: Project, url: str) -> str:
    """Return which versions answer at the project's own endpoint, and how much each."""
    from hieno.endpoint import control

    found = control.status(project.endpoint)
    if found is None or found.url != url:
        return ""
    versions = {name: each.version for name, each in found.deployments.items()}
    return str(sorted((versions[name], share) for name, share in found.traffic.items() if share))


def _columns(pairs: tuple[str, ...]) -> Mapping[str, str]:
    columns = {}
    for pair in pairs:
        name, sign, column = pair.partition("=")
        if not (name and sign and column):
            raise UsageError(
                f"--column {pair} is not INPUT=COLUMN", hint="write it as --column question=prompt"
            )
        columns[name] = column
    return columns


def _counts(done: Batch) -> list[list[str]]:
    counts = [["answered", f"{done.answered:,} of {len(done.rows):,}"]]
    counts += [["failed", f"{done.failed:,}"]] if done.failed else []
    counts += [["not asked", f"{done.unasked:,}"]] if done.unasked else []
    counts += [["earlier", f"{done.earlier:,} of them"]] if done.earlier else []
    return [*counts, ["report", done.as_json()["report"]], ["answers", done.as_json()["answers"]]]


def _compared(found: Parity) -> str:
    lines = [f"{found.same:,} of {found.lines:,} lines have the same answer from both"]
    lines += [f"{found.refused:,} lines are refused by both"] if found.refused else []
    for each in found.differences[:3]:
        lines += [f"line {each.line}: {each.question[:200]}"]
        lines += [f"    flow:  {each.answers[0]!r:.300}", f"    agent: {each.answers[1]!r:.300}"]
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
