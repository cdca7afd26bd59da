"""The table of commands: help, lazy imports, misspelt names."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import click
import pytest
from cli_running import HIENO, Run

from hieno import __version__
from hieno.cli.commands import COMMANDS, hieno

NOT_FOR_HELP = (
    "pydantic",
    "torch",
    "transformers",
    "mlflow",
    "httpx",
    "fastapi",
    "rich",
    "yaml",
    "psutil",
    "azure",
    "hieno.config",
    "hieno.project",
    "hieno.pipeline",
    "hieno.cli.stages",
    "hieno.cli.options",
)

HELP = """\
Usage: hieno [OPTIONS] COMMAND [ARGS]...

  Turn your chats into a small language model of your own.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Start:
  init        Make a project in a new folder.
  demo        Show the whole way at work with a small model.
  doctor      Check this machine and this project.

From chats to a model:
  data        Check, clean and split your chats.
  train       Fine-tune the model on them.
  tune        Search for better training settings.
  package     Make the tuned model ready to be served.
  evaluate    Compare the tuned model with its base.
  harness     Examine it with other people's harnesses.
  register    Give the package a version.
  deploy      Put the version behind the endpoint.
  up          Do whatever of all this is not done yet.
  status      Show what is done and what runs.
  down        Stop what runs; nothing is deleted.

Talk to it:
  chat        Talk to the model, or ask one question.
  keys        Show or renew the endpoint's keys.
  serve       Serve one model folder, without keys.
  flow        Make, test and serve a prompt flow or an agent.

Keep it serving:
  traffic     Show or divide the traffic.
  rollback    Go back to the deployment before.
  logs        Show what the endpoint has written.
  loadtest    Measure how much it can serve.

Look after it:
  trace       Show what an answer came from.
  models      Get, list, remove and export models.
  azure       Plan, make and remove what Azure holds.
  config      Show the configuration or its schema.
  completion  Print a shell's completion script.

  `hieno COMMAND --help` explains a command; `hieno init` starts.
"""


def loaded_by(*arguments: str) -> list[str]:
    script = (
        "import json, sys\n"
        "from hieno.cli.commands import hieno\n"
        f"code = hieno.main({list(arguments)!r}, standalone_mode=False)\n"
        f"print(json.dumps([name for name in {NOT_FOR_HELP!r} if name in sys.modules]))\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, encoding="utf-8", check=True
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_help_shows_every_command_in_the_order_of_the_work(run: Run, flag: str) -> None:
    result = run(flag)
    assert result.stdout == HELP
    assert result.exit_code == 0


def test_the_version_is_one_line(run: Run) -> None:
    result = run("--version")
    assert (result.stdout, result.exit_code) == (f"hieno {__version__}\n", 0)


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(flag: str) -> None:
    assert loaded_by(flag) == []


def test_no_command_shows_the_help_and_fails(run: Run) -> None:
    result = run()
    assert (result.stdout, result.stderr, result.exit_code) == ("", HELP, 2)


def test_a_misspelt_command_is_answered_with_the_nearest(run: Run) -> None:
    result = run("evaluat")
    assert result.stdout == ""
    assert result.stderr == (
        "error: no such command 'evaluat'. Did you mean 'evaluate'?\n"
        "hint: `hieno --help` shows what is possible\n"
    )
    assert result.exit_code == 2


def test_a_misspelt_command_of_a_group_is_answered_with_the_nearest(run: Run) -> None:
    result = run("models", "pul", "demo")
    assert result.stderr == (
        "error: no such command 'pul'. Did you mean 'pull'?\n"
        "hint: `hieno models --help` shows what is possible\n"
    )
    assert result.exit_code == 2


def test_a_misspelt_option_is_answered_with_the_nearest(run: Run) -> None:
    result = run("train", "--learningrate", "3")
    assert result.stderr == (
        "error: no such option '--learningrate'. Did you mean '--learning-rate'?\n"
        "hint: `hieno train --help` shows what is possible\n"
    )
    assert result.exit_code == 2


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_there_with_the_help_of_the_table(run: Run, name: str) -> None:
    command = hieno.get_command(click.Context(hieno), name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").splitlines()[0] == COMMANDS[name].help
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: hieno {name} ")


@pytest.mark.parametrize("group", ["flow", "models", "config"])
def test_every_command_of_a_group_has_help(run: Run, group: str) -> None:
    found = hieno.get_command(click.Context(hieno), group)
    assert isinstance(found, click.Group)
    for name, command in found.commands.items():
        result = run(group, name, "--help")
        assert result.stdout.startswith(f"Usage: hieno {group} {name} ")
        assert command.help


def test_every_command_that_answers_takes_json() -> None:
    def commands(group: click.Group) -> list[click.Command]:
        found: list[click.Command] = []
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            assert command is not None
            found += commands(command) if isinstance(command, click.Group) else [command]
        return found

    without = [
        command.name
        for command in commands(hieno)
        if not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert without == ["completion"]


def test_python_m_hieno_is_the_same_command() -> None:
    done = subprocess.run(
        [*HIENO, "--version"], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert re.fullmatch(r"hieno \d+\.\d+\.\d+\n", done.stdout)
