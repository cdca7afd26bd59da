"""`hieno config` and `hieno completion`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_running import Run

from hieno.config import keys, schema


@pytest.mark.usefixtures("project")
def test_show_prints_every_value_with_its_origin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIENO_TRAIN_RANK", "16")
    result = run("config", "show", "--set", "train.targets=[a, b]")
    lines = result.stdout.splitlines()
    assert len(lines) == len(keys())
    width = max(len(line.split()[0]) for line in lines)
    shown = [line[:width].rstrip() + line[width:] for line in lines]
    assert shown[:4] == [
        "name  books                     hieno.yaml:1",
        "model  demo                      hieno.yaml:2",
        "revision  null                      default",
        "target  local                     default",
    ]
    for line in (
        "data.strict  false                     default",
        "train.rank  16                        HIENO_TRAIN_RANK",
        'train.targets  ["a", "b"]                command line',
        "train.epochs  5.0                       hieno.yaml:4",
    ):
        assert line in shown
    assert (result.stderr, result.exit_code) == ("", 0)


def test_show_as_json_is_one_document(run: Run, project: Path) -> None:
    document = json.loads(run("config", "show", "--json").stdout)
    assert document["file"] == str(project / "hieno.yaml")
    assert [value["key"] for value in document["values"]] == list(keys())
    epochs = next(value for value in document["values"] if value["key"] == "train.epochs")
    assert epochs == {"key": "train.epochs", "value": 5.0, "source": "hieno.yaml:4"}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_password_in_an_address_is_refused_and_not_shown(run: Run, arguments: list[str]) -> None:
    address = "mlflow.tracking_uri=https://user:secret@example.com"
    result = run("config", "show", "--set", address, *arguments)
    assert (
        "command line: mlflow.tracking_uri: holds a password, which belongs into "
        "MLFLOW_TRACKING_PASSWORD (it is 'https://***@example.com')"
    ) in result.output
    assert "secret" not in result.output
    assert result.exit_code == 2


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_schema_needs_no_project(run: Run, arguments: list[str]) -> None:
    result = run("config", "schema", *arguments)
    assert json.loads(result.stdout) == schema()
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("shell", "start"),
    [("bash", "_hieno_completion() {"), ("zsh", "#compdef hieno"), ("fish", "function _hieno_")],
)
def test_each_shell_gets_its_script(run: Run, shell: str, start: str) -> None:
    result = run("completion", shell)
    assert result.stdout.startswith(start)
    assert "_HIENO_COMPLETE" in result.stdout
    assert result.exit_code == 0


def test_a_shell_that_is_not_known_is_refused(run: Run) -> None:
    result = run("completion", "tcsh")
    assert result.stderr == (
        "error: invalid value for '{bash|zsh|fish}': 'tcsh' is not one of 'bash', 'zsh', 'fish'\n"
        "hint: `hieno completion --help` shows what is possible\n"
    )
    assert result.exit_code == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tra"], ["train", "traffic", "trace"]),
        (["d"], ["demo", "doctor", "data", "deploy", "down"]),
        (["train", "--le"], ["--learning-rate"]),
        (["train", "--scheduler", ""], ["cosine", "linear", "constant"]),
        (["models", ""], ["export", "list", "pull", "remove", "sync"]),
    ],
)
def test_bash_completes_what_was_typed(
    words: list[str], expected: list[str], tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "hieno"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hieno "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = (
        'eval "$(hieno completion bash)"\n'
        'COMP_WORDS=(hieno "$@"); COMP_CWORD=$#\n'
        "_hieno_completion hieno\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        env=environment,
    )
    assert done.stdout.split() == expected
    assert done.stderr == ""
