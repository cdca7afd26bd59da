"""The commands about what the project has on Azure for longer than one job."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, reporter, table
from hieno.cli.start import findings_table

if TYPE_CHECKING:
    from hieno.project import Project


@click.group()
def azure() -> None:
    """Plan, make and remove what Azure holds."""


@azure.command()
@click.option("--request-quota", is_flag=True, help="Ask Azure for the cores that are short.")
@project_options("azure", required=False)
@click.pass_context
def doctor(ctx: click.Context, project: Project, as_json: bool, request_quota: bool) -> None:
    """Check everything that could stop the project on Azure."""
    from dataclasses import asdict

    from hieno.targets.azure import preflight

    findings = preflight.check(project)
    asked = preflight.request_quota(project) if request_quota else []
    said = preflight.verdict(findings)
    ready = all(found.state != "fail" for found in findings)
    document = {
        "ok": ready,
        "verdict": said,
        "findings": [asdict(found) for found in findings],
        "requested": asked,
    }
    text = "\n".join([findings_table(findings), *asked, said])
    emit(document, text, as_json=as_json)
    ctx.exit(0 if ready else 2)


@azure.command()
@project_options("azure")
def plan(project: Project, as_json: bool) -> None:
    """Show what `up` would change, and what it costs."""
    from hieno.targets.azure import plan as planning
    from hieno.targets.azure.site import opened

    with opened(project) as site:
        made = planning.make(site)
    emit(planning.document(made), "\n".join(planning.lines(made)), as_json=as_json)


@azure.command()
@project_options("azure")
def up(project: Project, as_json: bool) -> None:
    """Make what is missing on Azure; nothing is made twice."""
    from dataclasses import asdict

    from hieno.targets.azure import provisioning

    telling = reporter()
    telling.stage("azure up")
    try:
        names = provisioning.ensure(project, telling.say)
    finally:
        telling.close()
    emit(asdict(names), "", as_json=as_json)


@azure.command()
@project_options("azure")
def status(project: Project, as_json: bool) -> None:
    """List everything that is billed now, also a little."""
    from hieno.targets.azure import billing

    found = billing.look(project)
    emit(billing.document(found), table(billing.rows(found)), as_json=as_json)


@azure.command()
@click.option("--yes", "name", metavar="NAME", help="The project's name, instead of typing it.")
@click.option("--purge", is_flag=True, help="Leave nothing that can be brought back.")
@project_options("azure")
def down(project: Project, as_json: bool, name: str | None, purge: bool) -> None:
    """Take away what `up` made, data and models too."""
    from hieno.targets.azure import safeguard, teardown
    from hieno.targets.azure.site import opened

    safeguard.require_copy(project)
    telling = reporter()
    with opened(project) as site:
        going = teardown.doomed(site)
        for line in teardown.lines(going):
            telling.say(line)
        if purge or not going.is_empty:
            safeguard.require_name(project, name, ask=_ask)
            try:
                teardown.down(site, going, telling.say, purge=purge)
            finally:
                telling.close()
    removed = [
        *going.rules,
        *going.endpoints,
        *going.resources,
        *([going.group] if going.group else []),
    ]
    text = f"removed {len(removed)}" if removed else "nothing of this project is there"
    emit({"removed": removed}, text, as_json=as_json)


@azure.command()
@click.option("--parameters", is_flag=True, help="Print this project's parameters instead.")
@project_options("azure")
def template(project: Project, as_json: bool, parameters: bool) -> None:
    """Print the ARM template, for other tools."""
    from hieno.targets.azure import template as our

    if not parameters:
        click.echo(json.dumps(our.render(project.config), indent=2))
        return
    from hieno.targets.azure.site import opened

    with opened(project) as site:
        click.echo(json.dumps(our.parameters_file(site.config, site.names), indent=2))


def _ask(question: str) -> str | None:
    """Ask on a terminal; nobody is there to answer elsewhere."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return str(click.prompt(question, err=True, default="", show_default=False))
