"""The table of commands; each is imported only when it is the one that was typed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # click passes its own settings through `main`

import click

from hieno import __version__
from hieno.cli import failures


@dataclass(frozen=True)
class Entry:
    """Where a command is (`module:function`) and what it does in one line."""

    target: str
    help: str


SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Start": {
        "init": Entry("hieno.cli.start:init", "Make a project in a new folder."),
        "demo": Entry("hieno.cli.start:demo", "Show the whole way at work with a small model."),
        "doctor": Entry("hieno.cli.start:doctor", "Check this machine and this project."),
    },
    "From chats to a model": {
        "data": Entry("hieno.cli.data:data", "Check, clean and split your chats."),
        "train": Entry("hieno.cli.train:train", "Fine-tune the model on them."),
        "tune": Entry("hieno.cli.tune:tune", "Search for better training settings."),
        "package": Entry("hieno.cli.stages:package", "Make the tuned model ready to be served."),
        "evaluate": Entry("hieno.cli.stages:evaluate", "Compare the tuned model with its base."),
        "harness": Entry("hieno.cli.harness:harness", "Examine it with other people's harnesses."),
        "register": Entry("hieno.cli.stages:register", "Give the package a version."),
        "deploy": Entry("hieno.cli.stages:deploy", "Put the version behind the endpoint."),
        "up": Entry("hieno.cli.stages:up", "Do whatever of all this is not done yet."),
        "status": Entry("hieno.cli.stages:status", "Show what is done and what runs."),
        "down": Entry("hieno.cli.stages:down", "Stop what runs; nothing is deleted."),
    },
    "Talk to it": {
        "chat": Entry("hieno.cli.talk:chat", "Talk to the model, or ask one question."),
        "keys": Entry("hieno.cli.talk:keys", "Show or renew the endpoint's keys."),
        "serve": Entry("hieno.cli.talk:serve", "Serve one model folder, without keys."),
        "flow": Entry("hieno.cli.flow:flow", "Make, test and serve a prompt flow or an agent."),
    },
    "Keep it serving": {
        "traffic": Entry("hieno.cli.traffic:traffic", "Show or divide the traffic."),
        "rollback": Entry("hieno.cli.traffic:rollback", "Go back to the deployment before."),
        "logs": Entry("hieno.cli.traffic:logs", "Show what the endpoint has written."),
        "loadtest": Entry("hieno.cli.loadtest:loadtest", "Measure how much it can serve."),
    },
    "Look after it": {
        "trace": Entry("hieno.cli.trace:trace", "Show what an answer came from."),
        "models": Entry("hieno.cli.models:models", "Get, list, remove and export models."),
        "azure": Entry("hieno.cli.azure:azure", "Plan, make and remove what Azure holds."),
        "config": Entry("hieno.cli.settings:config", "Show the configuration or its schema."),
        "completion": Entry("hieno.cli.settings:completion", "Print a shell's completion script."),
    },
}

COMMANDS: Mapping[str, Entry] = {
    name: entry for section in SECTIONS.values() for name, entry in section.items()
}


class Commands(click.Group):
    """A group that reads the table instead of importing every command for its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, function = entry.target.partition(":")
        found = getattr(importlib.import_module(module), function)
        return found if isinstance(found, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.exceptions.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<10}", entry.help) for name, entry in entries.items()])

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=entry.help)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def main(  # type: ignore[override]  # click's overloads differ only in what they return
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> int:
        """Run a command; every failure ends here as two lines, or as JSON, and an exit code."""
        typed = sys.argv[1:] if args is None else list(args)
        try:
            name = prog_name or "hieno"
            outcome = super().main(args, name, complete_var, standalone_mode=False, **extra)
            code = outcome if isinstance(outcome, int) else 0
            sys.stdout.flush()  # here, so that a reader who left is noticed here
        except SystemExit:
            raise
        except BaseException as error:
            code = failures.report(error, as_json="--json" in typed)
        if standalone_mode:
            sys.exit(code)
        return code


@click.group(
    cls=Commands,
    help="Turn your chats into a small language model of your own.",
    epilog="`hieno COMMAND --help` explains a command; `hieno init` starts.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="hieno", message="%(prog)s %(version)s")
def hieno() -> None: ...
