"""What an answer came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, reporter, table

if TYPE_CHECKING:
    from hieno.project import Project
    from hieno.registry.trace import Link


@click.command()
@click.argument("id")
@click.option("--verify", is_flag=True, help="Read every file again: is it what it was?")
@project_options()
@click.pass_context
def trace(ctx: click.Context, id: str, verify: bool, project: Project, as_json: bool) -> None:
    """Show what an answer came from.

    ID is the request id of an answer, a version (7) or an alias (champion).
    """
    from hieno.registry.trace import trace as follow

    telling = reporter()
    telling.stage("trace")
    try:
        found = follow(project, id, verify=verify, reporter=telling)
    finally:
        telling.close()
    rows = []
    for link in found.links:
        digest = link.digest[:12] if link.digest else ""
        rows.append([link.role, _mark(link, verify), digest, _told(link, project)])
        rows += [["", "", "", f"-> {problem}"] for problem in link.problems]
    emit(found.as_json(), table(rows), as_json=as_json)
    ctx.exit(1 if found.problems else 0)


def _mark(link: Link, verified: bool) -> str:
    if link.problems:
        return "BROKEN"
    return "ok" if verified and (link.digest or link.role == "source") else ""


def _told(link: Link, project: Project) -> str:
    if link.path is None:
        return link.text
    path = Path(link.path)
    inside = path.is_relative_to(project.root)
    return f"{link.text}: {path.relative_to(project.root) if inside else path}"
