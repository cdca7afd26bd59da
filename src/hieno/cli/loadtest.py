"""The command that measures how much an endpoint can serve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, table
from hieno.errors import AccessDenied, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from hieno.endpoint.loadtest.run import Level, Quantiles, Report, Sizing
    from hieno.project import Project

KEY = "HIENO_API_KEY"


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1024),
    multiple=True,
    help="So many requests at a time; repeatable [default: 1, 4 and 16].",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1000, min_open=True),
    multiple=True,
    help="So many arrivals per second at random times; repeatable.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600, min_open=True),
    default=10,
    show_default=True,
    help="Length of each level.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1, 32768),
    default=64,
    show_default=True,
    help="Longest answer, in tokens.",
)
@click.option("--stream/--no-stream", default=True, help="Stream the answers [default: stream].")
@click.option(
    "--sustain",
    type=click.FloatRange(0, 1e6, min_open=True),
    metavar="N",
    help="Say how many instances N requests per second need.",
)
@click.option(
    "--within",
    type=click.FloatRange(0, 3600, min_open=True),
    default=10,
    show_default=True,
    help="Seconds in which 95% of the answers are to be whole.",
)
@click.option("--url", help=f"Another endpoint; its key is read from {KEY}.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the picture goes [default: .hieno/loadtest.svg].",
)
@project_options(required=False)
def loadtest(
    concurrency: Sequence[int],
    rate: Sequence[float],
    seconds: float,
    max_new_tokens: int,
    stream: bool,
    sustain: float | None,
    within: float,
    url: str | None,
    picture: Path | None,
    project: Project,
    as_json: bool,
) -> None:
    """Measure how much it can serve.

    Each level of load is held for a while. The answer is a table, a picture, and with --sustain
    the number of instances.
    """
    from hieno.endpoint.loadtest import loadtest as run
    from hieno.endpoint.loadtest.arrivals import Pattern
    from hieno.endpoint.loadtest.picture import picture as draw

    loads = [Pattern("concurrency", load) for load in concurrency]
    loads += [Pattern("rate", load) for load in rate]
    address, key, instances = _place(url, project)
    report = run(
        address,
        key,
        patterns=loads or [Pattern("concurrency", load) for load in (1, 4, 16)],
        seconds=seconds,
        max_new_tokens=max_new_tokens,
        stream=stream,
        sustain=sustain,
        within=within,
        instances=instances,
        say=lambda line: click.echo(line, err=True),
    )
    place = picture or (Path("loadtest.svg") if url else project.state / "loadtest.svg")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(draw(report), encoding="utf-8")
    document = {**report.as_json(), "picture": str(place)}
    emit(document, _words(report, place), as_json=as_json)


def _place(url: str | None, project: Project) -> tuple[str, SecretStr, int]:
    """Return address, key, and the number of instances that share the load."""
    from pydantic import SecretStr

    from hieno.cli.talk import endpoint_of
    from hieno.endpoint.state import read_desired

    if url is None:
        address, key = endpoint_of(project)
        desired = read_desired(project.endpoint)
        live = [name for name, share in desired.traffic.items() if share] if desired else []
        specs = [desired.deployments[name] for name in live] if desired else []
        return address, key, max(1, sum(spec.instances for spec in specs))
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{url} is not an address", hint="write it as http://127.0.0.1:8000")
    if not os.environ.get(KEY):
        raise AccessDenied(
            f"--url needs a key in {KEY}", hint=f"set {KEY}; a key never belongs on a command line"
        )
    return url, SecretStr(os.environ[KEY]), 1


def _words(report: Report, place: Path) -> str:
    head = ["load", "answers/s", "tokens/s", "p50 s", "p95 s", "p99 s", "first p50", "first p95"]
    rows = [[*head, "failed"], *(_row(level) for level in report.levels)]
    lines = [table(rows), "", f"picture  {place}"]
    if report.sizing:
        lines.append(f"sizing   {_sizing(report.sizing)}")
    return "\n".join(lines)


def _row(level: Level) -> list[str]:
    failed = ", ".join(f"{count} x {reason}" for reason, count in level.failed.items())
    return [
        level.pattern,
        f"{level.requests_per_second:.2f}",
        f"{level.tokens_per_second:.0f}",
        *_times(level.latency, ("p50", "p95", "p99")),
        *_times(level.first_token, ("p50", "p95")),
        failed or "-",
    ]


def _times(found: Quantiles | None, names: Sequence[str]) -> list[str]:
    return [f"{getattr(found, name):.3f}" if found else "-" for name in names]


def _sizing(sizing: Sizing) -> str:
    wanted = f"{sizing.requests_per_second:g} requests/s"
    if sizing.per_instance is None or sizing.instances is None:
        return (
            f"{wanted}: no level answered all in time ({sizing.within:g} s); try a lower load"
            " or a longer --within"
        )
    count = "1 instance" if sizing.instances == 1 else f"{sizing.instances} instances"
    return (
        f"{wanted} need {count} on machines like this: one answers {sizing.per_instance:.2f}/s"
        f" within {sizing.within:g} s and is used to 70%"
    )
