"""The commands about the configuration and the shell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from hieno.cli.options import project_options
from hieno.cli.output import emit, table

if TYPE_CHECKING:
    from hieno.project import Project


@click.group()
def config() -> None:
    """Show the configuration or its schema."""


@config.command()
@project_options()
def show(project: Project, as_json: bool) -> None:
    """Show every value and where it comes from."""
    from hieno.config import FILE_NAME

    rows = [[origin.key, _as_yaml(origin.value), origin.source] for origin in project.origins]
    values = [
        {"key": origin.key, "value": origin.value, "source": origin.source}
        for origin in project.origins
    ]
    document = {"file": str(project.root / FILE_NAME), "values": values}
    emit(document, table(rows), as_json=as_json)


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Accepted everywhere; a schema is JSON.")
def schema(as_json: bool) -> None:
    """Print the JSON schema of hieno.yaml, for editors."""
    from hieno.config import schema as made

    click.echo(json.dumps(made(), indent=2))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell's completion script.

    \b
    bash: add to ~/.bashrc        eval "$(hieno completion bash)"
    zsh:  add to ~/.zshrc         eval "$(hieno completion zsh)"
    fish: hieno completion fish > ~/.config/fish/completions/hieno.fish
    """
    from click.shell_completion import get_completion_class

    from hieno.cli.commands import hieno

    maker = get_completion_class(shell)
    if maker is None:  # click knows the three shells above
        raise click.UsageError(f"click has no completion for {shell}")
    script = maker(hieno, {}, "hieno", "_HIENO_COMPLETE")
    click.echo(script.source_template % script.source_vars())


def _as_yaml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
