"""The commands of the flow: make it, prove it, serve it. Batches are in `flow_batch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hieno.cli.flow_batch import evaluate, migrate, run
from hieno.cli.options import project_options
from hieno.cli.output import emit, reporter, table
from hieno.cli.talk import endpoint_to_ask

if TYPE_CHECKING:
    from hieno.flow import Scaffold
    from hieno.project import Project

DIR = click.Path(file_okay=False, path_type=Path)


@click.group()
def flow() -> None:
    """Make, test and serve a prompt flow or an agent."""


@flow.command()
@project_options("flow")
def init(project: Project, as_json: bool) -> None:
    """Write the flow's files, yours to edit."""
    from hieno import flow as flows
    from hieno.flow.frameworks import named

    folder = folder_of(project)
    framework = named(project.config.flow.framework)
    made = flows.init(folder, name=project.config.name, framework=framework)
    emit(_files(made), _told(made, folder), as_json=as_json)


@flow.command(name="import")
@click.argument("source", type=DIR, metavar="DIR")
@project_options("flow", required=False)
def import_(source: Path, project: Project, as_json: bool) -> None:
    """Read a flow made by hand, say what is wrong, and write it repaired.

    DIR holds flow.dag.yml or flow.dag.yaml. Nothing in it is run or changed.
    """
    from hieno import flow as flows

    folder = project.path(project.config.flow.path)
    made = flows.import_flow(source, folder, name=project.config.name)
    lines = []
    for fault in made.faults:
        lines += [f"{fault.place}: {fault.problem}", f"    now: {fault.repair}"]
    lines += ["", _told(made.scaffold, folder)]
    if made.secrets:
        lines += ["", "Make new keys for the endpoint: those in the files may have been seen."]
    if made.endpoint:
        lines += ["", f"export HIENO_ENDPOINT={made.endpoint}", "export HIENO_API_KEY=..."]
    document = _files(made.scaffold) | {
        "faults": [vars(fault) for fault in made.faults],
        "secrets": [vars(secret) for secret in made.secrets],
        "endpoint": made.endpoint,
    }
    emit(document, "\n".join(lines), as_json=as_json)


@flow.command()
@click.argument("questions", nargs=-1)
@project_options("flow", required=False)
def test(questions: tuple[str, ...], project: Project, as_json: bool) -> None:
    """Hold a conversation through the flow.

    Each QUESTION is one turn; without any, two that show that the flow remembers.
    """
    from hieno import flow as flows
    from hieno.flow.conversation import QUESTIONS

    url, key = endpoint_to_ask(project)
    held = flows.test(
        folder_of(project), url, key, questions=questions or QUESTIONS, say=reporter().say
    )
    turns = list(zip(held.questions, held.answers, strict=True))
    document = {"turns": [{"question": asked, "answer": answer} for asked, answer in turns]}
    text = "\n".join(f"you> {asked}\n{answer}\n" for asked, answer in turns)
    emit(document, text.rstrip("\n"), as_json=as_json)


@flow.command()
@project_options("flow", required=False)
@click.pass_context
def serve(ctx: click.Context, project: Project, as_json: bool) -> None:
    """Serve the flow until Ctrl-C: prompt flow with its chat page, an agent with /score."""
    ctx.exit(_serve(project, page=False))


@flow.command()
@project_options("flow", required=False)
@click.pass_context
def devui(ctx: click.Context, project: Project, as_json: bool) -> None:
    """Serve the developer page of the agent project until Ctrl-C."""
    ctx.exit(_serve(project, page=True))


@flow.command()
@click.option(
    "--output",
    type=DIR,
    default=Path("flow-image"),
    show_default=True,
    help="Folder of the image's context; what was built there before is replaced.",
)
@project_options("flow", required=False)
def build(output: Path, project: Project, as_json: bool) -> None:
    """Write what `docker build` needs for a small image of the prompt flow."""
    from hieno import flow as flows

    made = flows.build(project.path(project.config.flow.path), project.path(str(output)))
    document = {"folder": str(made.folder), "files": made.files, "packages": made.packages}
    shown = table([["folder", str(made.folder)], ["packages", str(made.packages)]])
    emit(document, f"{shown}\n\ndocker build -t my-flow {made.folder}", as_json=as_json)


for _command in (run, evaluate, migrate):
    flow.add_command(_command)


def folder_of(project: Project) -> Path:
    """Return the folder of the flow, or of the agent where that is the framework."""
    from hieno.flow import stage

    return stage.folder_of(project)


def _serve(project: Project, *, page: bool) -> int:
    from hieno import flow as flows

    url, key = endpoint_to_ask(project)
    config = project.config.flow
    return flows.serve(
        project.path(config.agent_path) if page else folder_of(project),
        url,
        key,
        # not the server that `up` keeps
        state=project.state / ("flow-devui" if page else "flow-serve"),
        port=config.port,
        page=page,
        say=reporter().say,
    )


def _files(made: Scaffold) -> dict[str, object]:
    return {
        "written": [str(path) for path in made.written],
        "kept": [str(path) for path in made.kept],
    }


def _told(made: Scaffold, folder: Path) -> str:
    lines = [f"wrote {path}" for path in made.written]
    lines += [f"kept {path} (you changed it)" for path in made.kept]
    return "\n".join(lines) or f"{folder} is as it should be"
