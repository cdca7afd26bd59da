"""The commands for an endpoint that serves: its traffic, the way back, its logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, table
from hieno.errors import MissingInput, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hieno.endpoint.control import EndpointStatus
    from hieno.project import Project


@click.command()
@click.argument("shares", nargs=-1, metavar="[NAME=PERCENT]...")
@click.option("--mirror", metavar="NAME=PERCENT", help="Copy so many requests to a deployment.")
@project_options()
def traffic(shares: Sequence[str], mirror: str | None, project: Project, as_json: bool) -> None:
    """Show or divide the traffic.

    `hieno traffic blue=90 green=10` divides it; who is not named is stopped, and is started again
    when it is named. The answers to copies are dropped.
    """
    from hieno.targets import open_target

    if not shares and mirror:
        raise UsageError(
            "--mirror needs the shares of the traffic as well",
            hint=f"`hieno traffic blue=100 green=0 --mirror {mirror}`",
        )
    if shares:
        found = open_target(project).traffic(
            _shares(shares), mirror=_shares([mirror] if mirror else []), say=_say
        )
    else:
        found = _endpoint(project)
    emit(found.as_json(), table(_rows(found)), as_json=as_json)


@click.command()
@project_options()
def rollback(project: Project, as_json: bool) -> None:
    """Go back to the deployment before.

    It is started again if it was stopped, and has answered before it gets the traffic. A second
    time leads forward again.
    """
    from hieno.targets import open_target

    found = open_target(project).rollback(say=_say)
    emit(found.as_json(), table(_rows(found)), as_json=as_json)


@click.command()
@click.argument("name", default="gateway")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0, 100_000),
    default=50,
    show_default=True,
    help="How many of the last lines.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@project_options()
def logs(name: str, lines: int, follow: bool, project: Project, as_json: bool) -> None:
    """Show what the endpoint has written.

    NAME is gateway (one line a request), blue, green or base; on Azure also train, package or
    evaluate.
    """
    from hieno.targets import open_target

    if follow and as_json:
        raise UsageError("--json and --follow exclude each other", hint="leave one of them out")
    if follow:
        for line in open_target(project).follow(name, lines=lines):
            click.echo(line)
    found = open_target(project).logs(name, lines=lines)
    emit({"log": name, "lines": found}, "\n".join(found), as_json=as_json)


def _endpoint(project: Project) -> EndpointStatus:
    from hieno.targets import open_target

    found = open_target(project).endpoint()
    if found is None:
        name = project.config.endpoint.name
        raise MissingInput(f"there is no endpoint '{name}' yet", hint="`hieno up` makes it")
    return found


def _shares(words: Sequence[str]) -> dict[str, int]:
    shares: dict[str, int] = {}
    for word in words:
        name, sign, percent = word.partition("=")
        whole = percent.isascii() and percent.isdecimal() and len(percent) <= 3
        if not sign or not name or not whole or name in shares:
            raise UsageError(
                f"{word} is not NAME=PERCENT, each name once", hint="`hieno traffic blue=100`"
            )
        shares[name] = int(percent)
    return shares


def _rows(found: EndpointStatus) -> list[list[str]]:
    rows = []
    for name, deployment in sorted(found.deployments.items()):
        words: str = deployment.state
        if deployment.doing:
            words += f", {deployment.doing}"
        if name in found.mirror:
            words += f", gets copies of {found.mirror[name]}%"
        share = f"{found.traffic.get(name, 0)}%"
        rows.append([name, f"{share:>4}", f"version {deployment.version}", words])
    for name, version in sorted(found.retired.items()):
        rows.append([name, "  0%", f"version {version}", "retired"])
    return rows


def _say(line: str) -> None:
    click.echo(line, err=True)
