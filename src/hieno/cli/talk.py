"""The commands to talk to a model: chat, the endpoint's keys, one model without an endpoint."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal  # Any: keyword arguments

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, table
from hieno.errors import MissingInput, UsageError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from hieno.project import Project


@click.command()
@click.argument("question", nargs=-1)
@click.option("--base", is_flag=True, help="Ask the untuned model.")
@click.option("--system", default="", metavar="TEXT", help="Instructions for the model.")
@click.option("--max-new-tokens", default=512, show_default=True, help="Longest answer, in tokens.")
@click.option("--temperature", default=0.0, show_default=True, help="0: the same answer each time.")
@click.option("--web", is_flag=True, help="Print a link to the chat page.")
@click.option(
    "--invite", type=click.IntRange(1), metavar="N", help="Print N links to the page, for guests."
)
@click.option(
    "--requests",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Questions of each guest.",
)
@click.option(
    "--tokens",
    type=click.IntRange(1),
    default=50_000,
    show_default=True,
    help="Tokens of answers for each guest.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0, 24 * 365, min_open=True),
    default=24.0,
    show_default=True,
    help="Hours for which a guest's link and visit are good.",
)
@project_options()
@click.pass_context
def chat(
    ctx: click.Context,
    question: tuple[str, ...],
    base: bool,
    system: str,
    max_new_tokens: int,
    temperature: float,
    web: bool,
    invite: int | None,
    requests: int,
    tokens: int,
    hours: float,
    project: Project,
    as_json: bool,
) -> None:
    """Talk to the model, or ask one question.

    Without a question a conversation begins; through a pipe every line is a question. With --web
    or --invite it happens on a page in a browser.
    """
    from hieno import chat as talk

    text = " ".join(question)
    if web or invite:
        if text:
            raise UsageError("a question has no page", hint="leave out --web, or the question")
        bounds = {"requests": requests, "tokens": tokens, "hours": hours}
        return _show_links(project, invite or 0, bounds, as_json=as_json)
    if as_json and not text:
        raise UsageError("--json needs a question", hint='`hieno chat --json "What is new?"`')
    url, key = endpoint_to_ask(project)
    answer = io.StringIO() if as_json else None
    deployment = "base" if base else None
    if not text:
        code = talk.chat(
            url,
            key,
            deployment=deployment,
            system=system,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
        )
        ctx.exit(code)
    code = talk.ask(
        url,
        key,
        text,
        deployment=deployment,
        system=system,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        stream_out=answer,
    )
    if answer is not None:
        emit({"question": text, "answer": answer.getvalue().strip()}, "", as_json=True)
    ctx.exit(code)


@click.command()
@click.option(
    "--regenerate",
    type=click.Choice(["primary", "secondary"]),
    help="Replace one key; the other goes on working.",
)
@project_options()
def keys(
    regenerate: Literal["primary", "secondary"] | None, project: Project, as_json: bool
) -> None:
    """Show or renew the endpoint's keys."""
    from hieno.targets import open_target

    target = open_target(project)
    found = target.regenerate(regenerate) if regenerate else target.keys()
    shown = {
        "primary": found.primary.get_secret_value(),
        "secondary": found.secondary.get_secret_value(),
    }
    emit(shown, table([[name, key] for name, key in shown.items()]), as_json=as_json)


@click.command()
@click.argument("root", required=False, type=click.Path(path_type=Path), metavar="[MODEL]")
@click.option("--port", type=click.IntRange(1, 65535), help="[default: the first free from 8000]")
@click.option(
    "--engine",
    type=click.Choice(["auto", "openvino", "transformers", "vllm"]),
    default="auto",
    show_default=True,
    help="What computes the answers.",
)
@click.option(
    "--weights",
    default="auto",
    show_default=True,
    metavar="FORMAT",
    help="Format of converted weights, where there are several: fp32, bf16, int8 or int4.",
)
@project_options("serve", required=False)
def serve(
    root: Path | None,
    port: int | None,
    engine: str,
    weights: str,
    project: Project,
    as_json: bool,
) -> None:
    """Serve one model folder, without keys.

    MODEL is a package or a model folder; without it, the version that the project registered.
    """
    from hieno.serve.server import serve as run

    place = root or _champion(project)
    if not place.is_dir():
        raise MissingInput(
            f"there is no folder {place}", hint="name a package or a folder with config.json"
        )
    try:
        run(
            place,
            port=port,
            engine=engine,
            weights=weights,
            settings=project.config.serve,
            name=project.config.name,
            tell=lambda url: emit({"url": url, "root": str(place)}, url, as_json=as_json),
        )
    except KeyboardInterrupt:  # the usual way to end a server in the foreground
        click.echo("the server ended", err=True)


def endpoint_to_ask(project: Project) -> tuple[str, SecretStr]:
    """Return the endpoint that HIENO_ENDPOINT and HIENO_API_KEY name, else the project's own."""
    from pydantic import SecretStr

    if url := os.environ.get("HIENO_ENDPOINT", "").strip():
        return url, SecretStr(os.environ.get("HIENO_API_KEY", "").strip())
    return endpoint_of(project)


def endpoint_of(project: Project) -> tuple[str, SecretStr]:
    """Return the address and a key of the project's endpoint, which must be running."""
    from hieno.targets import open_target

    found = open_target(project).connect()
    return found.url, found.key


def _show_links(project: Project, guests: int, bounds: dict[str, Any], *, as_json: bool) -> None:
    from hieno.chat import web

    url, _ = endpoint_of(project)
    found = [link.reveal() for link in web.links(project.endpoint, url, guests=guests, **bounds)]
    document = {"links": found, **(bounds if guests else {})}
    emit(document, "\n".join(found), as_json=as_json)
    if guests:
        words = "one link each: {requests} questions, {tokens} tokens, {hours:g} hours"
        click.echo(words.format(**bounds), err=True)
    else:
        click.echo("open it within five minutes; it works once", err=True)


def _champion(project: Project) -> Path:
    from hieno.registry import versions

    found = versions.champion(project.registry)
    if found is None:
        raise MissingInput(
            "there is no registered version to serve",
            hint="`hieno register` makes one; or name a model folder: `hieno serve DIR`",
        )
    return Path(found.package)
