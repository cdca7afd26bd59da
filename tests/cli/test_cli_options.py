"""Flags that come from the configuration's own tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from cli_running import Run
from click.testing import CliRunner, Result

from hieno.cli.options import project_options
from hieno.config import keys
from hieno.project import Project


def given(section: str, *arguments: str) -> Project:
    """Return the project that a command with a section's flags is called with."""
    seen: list[Project] = []

    @click.command()
    @project_options(section)
    def command(project: Project, as_json: bool) -> None:
        seen.append(project)

    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return seen[0]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("section", "key", "arguments", "value"),
    [
        ("train", "epochs", ["--epochs", "2.5"], 2.5),
        ("train", "rank", ["--rank", "16"], 16),
        ("train", "learning_rate", ["--learning-rate", "1e-4"], 1e-4),
        ("train", "scheduler", ["--scheduler", "linear"], "linear"),
        ("data", "strict", ["--strict"], True),
        ("data", "strict", ["--no-strict"], False),
        ("data", "source", ["--source", "chats #1.jsonl"], "chats #1.jsonl"),
        ("data", "test", ["--test", "no"], "no"),
        ("endpoint", "name", ["--name", "library"], "library"),
        ("train", "targets", ["--set", "train.targets=[qkv_proj]"], ["qkv_proj"]),
        ("train", "epochs", ["--set", "train.epochs=2", "--set", "train.epochs=4"], 4),
    ],
)
def test_a_flag_sets_its_key(section: str, key: str, arguments: list[str], value: object) -> None:
    found = given(section, *arguments)
    assert getattr(getattr(found.config, section), key) == value
    source = next(one.source for one in found.origins if one.key == f"{section}.{key}")
    assert source == "command line"


@pytest.mark.usefixtures("project")
def test_a_flag_that_is_not_given_changes_nothing() -> None:
    train = given("train").config.train
    assert (train.epochs, train.rank) == (5, 32)


def parameter(section: str, key: str) -> Any:
    @click.command()
    @project_options(section)
    def command(project: Project, as_json: bool) -> None: ...

    name = f"flag__{section}__{key.replace('.', '__')}"
    return next((one for one in command.params if one.name == name), None)


def test_every_plain_key_of_a_section_is_a_flag_with_its_description() -> None:
    without = []
    for key, field in keys().items():
        section, _, last = key.partition(".")
        if not last:
            continue
        option = parameter(section, last)
        if option is None:
            without.append(key)
            continue
        assert option.opts == ["--" + last.replace(".", "-").replace("_", "-")]
        assert option.help.lower().startswith(field.description.lower())
    assert without == ["data.columns", "train.targets", "endpoint.steps"]


def error_of(result: Result) -> str:
    assert result.stdout == ""
    assert result.exit_code == 2
    return result.stderr


@pytest.mark.usefixtures("project")
def test_every_wrong_value_is_reported_at_once(run: Run) -> None:
    arguments = ["--set", "train.epochs=-1", "--set", "train.ranks=3"]
    assert error_of(run("config", "show", *arguments)) == (
        "error: 2 problems in the configuration\n"
        "command line: train.epochs: input should be greater than 0 (it is -1)\n"
        "command line: unknown key 'train.ranks'; did you mean 'train.rank'?\n"
        "hint: `hieno config schema` describes every key; `hieno config show` prints what is used\n"
    )


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("assignment", ["train.epochs", "=3", " =3"])
def test_a_setting_without_key_or_value_is_refused(run: Run, assignment: str) -> None:
    assert error_of(run("config", "show", "--set", assignment)) == (
        f"error: --set {assignment} is not KEY=VALUE\nhint: write it as --set train.epochs=3\n"
    )


@pytest.mark.usefixtures("project")
def test_a_number_that_is_none_is_refused_with_its_flag(run: Run) -> None:
    assert error_of(run("train", "--epochs", "many")) == (
        "error: invalid value for '--epochs': 'many' is not a valid float\n"
        "hint: `hieno train --help` shows what is possible\n"
    )


def test_a_named_folder_is_not_replaced_by_a_project_around_it(run: Run, project: Path) -> None:
    (project / "inner").mkdir()
    assert error_of(run("config", "show", "--project", "inner")) == (
        "error: there is no hieno.yaml in inner\nhint: `hieno init inner` makes a project\n"
    )


def test_a_named_folder_is_used(run: Run, project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "hieno.yaml").write_text("name: other\n", encoding="utf-8")
    result = run("config", "show", "--json", "--project", "other")
    assert json.loads(result.stdout)["file"] == str(other.resolve() / "hieno.yaml")


def test_no_project_anywhere_says_what_to_type(run: Run, tmp_path: Path) -> None:
    assert error_of(run("status")) == (
        f"error: there is no hieno.yaml in {tmp_path.resolve()} or above it\n"
        "hint: `hieno init` makes a project here; `hieno demo` shows one at work\n"
    )
