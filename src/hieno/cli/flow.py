"""The commands of the prompt flow: make it, test it, serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, reporter
from hieno.cli.talk import endpoint_of

if TYPE_CHECKING:
    from hieno.project import Project


@click.group()
def flow() -> None:
    """Make, test and serve a prompt flow."""


@flow.command()
@project_options("flow")
def init(project: Project, as_json: bool) -> None:
    """Write the flow's files, yours to edit."""
    from hieno import flow as flows

    folder = project.path(project.config.flow.path)
    made = flows.init(folder, name=project.config.name)
    lines = [f"wrote {path}" for path in made.written]
    lines += [f"kept {path} (you changed it)" for path in made.kept]
    document = {
        "written": [str(path) for path in made.written],
        "kept": [str(path) for path in made.kept],
    }
    emit(document, "\n".join(lines) or f"{folder} is as it should be", as_json=as_json)


@flow.command()
@click.argument("questions", nargs=-1)
@project_options("flow")
def test(questions: tuple[str, ...], project: Project, as_json: bool) -> None:
    """Hold a conversation through the flow.

    Each QUESTION is one turn; without any, two that show that the flow remembers.
    """
    from hieno import flow as flows
    from hieno.flow.conversation import QUESTIONS

    url, key = endpoint_of(project)
    folder = project.path(project.config.flow.path)
    held = flows.test(folder, url, key, questions=questions or QUESTIONS, say=reporter().say)
    turns = list(zip(held.questions, held.answers, strict=True))
    document = {"turns": [{"question": asked, "answer": answer} for asked, answer in turns]}
    text = "\n".join(f"you> {asked}\n{answer}\n" for asked, answer in turns)
    emit(document, text.rstrip("\n"), as_json=as_json)


@flow.command()
@project_options("flow")
@click.pass_context
def serve(ctx: click.Context, project: Project, as_json: bool) -> None:
    """Serve the flow's own chat page until Ctrl-C."""
    from hieno import flow as flows

    url, key = endpoint_of(project)
    code = flows.serve(
        project.path(project.config.flow.path),
        url,
        key,
        state=project.state / "flow-serve",  # not the server that `up` keeps
        port=project.config.flow.port,
        say=reporter().say,
    )
    ctx.exit(code)
