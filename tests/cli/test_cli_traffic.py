"""`hieno traffic`, `rollback`, `logs` and `loadtest` on endpoints that really serve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cli_running import HIENO, Run, pretend

from hieno import ports
from hieno.endpoint import control
from hieno.endpoint.state import DeploymentSpec
from hieno.endpoint.watch import Guard
from hieno.processes import identify
from hieno.project import open_project

CONTAINER = Path(__file__).parents[1] / "endpoint" / "container.py"


def spec(version: str) -> DeploymentSpec:
    command = (sys.executable, str(CONTAINER), "--port", "{port}", "--name", version)
    return DeploymentSpec(version=version, command=command)


@pytest.fixture
def folder(project: Path) -> Iterator[Path]:
    """The folder of an endpoint with version 1 retired and version 2 serving."""
    found = open_project(project).endpoint
    for version in "12":
        control.deploy(
            found,
            spec(version),
            port=ports.free_port(),
            wait=60,
            say=lambda line: None,
            guard=Guard(steps=(100,)),
        )
    yield found
    control.down(found)


def ask(folder: Path) -> str:
    status = control.status(folder)
    assert status is not None
    key = control.keys(folder).primary.get_secret_value()
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(status.score_url, json={}, headers=headers, trust_env=False, timeout=30)
    return str(answer.json()["name"])


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("command", ["traffic", "rollback", "logs"])
def test_without_an_endpoint_each_says_what_to_type(run: Run, command: str) -> None:
    result = run(command)
    assert result.stderr.startswith("error: there is no endpoint ")
    assert result.exit_code == 2


def test_traffic_is_shown_divided_and_rolled_back(run: Run, folder: Path) -> None:
    assert run("traffic").stdout == (
        "green  100%  version 2  ready\nblue     0%  version 1  retired\n"
    )
    result = run("traffic", "green=75", "blue=25")
    assert (result.stdout, result.stderr, result.exit_code) == (
        "blue    25%  version 1  ready\ngreen   75%  version 2  ready\n",
        "blue starts with version 1\nblue serves version 1: green 75%, blue 25%\n",
        0,
    )
    document = json.loads(
        run("traffic", "--json", "green=100", "blue=0", "--mirror", "blue=5").stdout
    )
    assert (document["traffic"], document["mirror"]) == ({"green": 100, "blue": 0}, {"blue": 5})
    assert run("traffic").stdout == (
        "blue     0%  version 1  ready, gets copies of 5%\ngreen  100%  version 2  ready\n"
    )
    assert run("rollback").exit_code == 0
    assert ask(folder) == "1"
    assert run("traffic").stdout == (
        "blue   100%  version 1  ready\ngreen    0%  version 2  retired\n"
    )


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["blue"], "blue is not NAME=PERCENT, each name once", "`hieno traffic blue=100`"),
        (["blue=1.5"], "blue=1.5 is not NAME=PERCENT, each name once", "`hieno traffic blue=100`"),
        (["blue=50", "blue=50"], "blue=50 is not NAME=PERCENT, each name once", "`hieno tr"),
        (
            ["--mirror", "blue=5"],
            "--mirror needs the shares of the traffic as well",
            "`hieno traffic blue=100 green=0 --mirror blue=5`",
        ),
    ],
)
def test_malformed_shares_are_refused(
    run: Run, arguments: list[str], message: str, hint: str
) -> None:
    result = run("traffic", *arguments)
    assert result.stderr.startswith(f"error: {message}\nhint: {hint}")
    assert result.exit_code == 2


def test_logs_show_the_last_lines_and_follow(run: Run, folder: Path) -> None:
    ask(folder)
    [line] = run("logs", "--lines", "1").stdout.splitlines()
    assert "POST /score 200 " in line
    assert json.loads(run("logs", "--json", "-n", "1").stdout) == {
        "log": "gateway",
        "lines": [line],
    }
    wrong = run("logs", "red")
    assert wrong.stderr == (
        "error: the endpoint hieno has no log of 'red'\nhint: name one of blue, green, gateway\n"
    )
    command = [*HIENO, "logs", "-f", "-n", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{line}\n"
        log = folder / "gateway.log"
        log.rename(folder / "gateway.log.1")
        log.write_text("begun anew\n", encoding="utf-8")
        assert process.stdout.readline() == "begun anew\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


def test_following_has_no_json(run: Run, folder: Path) -> None:
    result = run("logs", "-f", "--json")
    assert json.loads(result.stdout)["error"]["message"] == (
        "--json and --follow exclude each other"
    )
    assert result.exit_code == 2


def test_loadtest_measures_a_model_and_draws_it(run: Run, project: Path, server: str) -> None:
    pretend(project, int(server.rpartition(":")[2]), identify(os.getpid()))
    result = run(
        *["loadtest", "--concurrency", "1", "--concurrency", "2", "--rate", "20"],
        *["--seconds", "0.3", "--max-new-tokens", "4", "--sustain", "1000"],
    )
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:4]] == [
        "load",
        "1 at a time",
        "2 at a time",
        "20/s",
    ]
    assert lines[5] == f"picture  {project / '.hieno' / 'loadtest.svg'}"
    assert lines[6].startswith("sizing   1000 requests/s need ")
    assert ET.parse(project / ".hieno" / "loadtest.svg").getroot().tag.endswith("svg")  # noqa: S314


def test_loadtest_counts_tokens_with_and_without_a_stream(
    run: Run, project: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIENO_API_KEY", "any")
    for stream in ("--stream", "--no-stream"):
        result = run(
            *["loadtest", "--url", server, stream, "--concurrency", "1", "--seconds", "0.01"],
            *["--max-new-tokens", "3", "--json"],
        )
        document = json.loads(result.stdout)
        [level] = document["levels"]
        assert (level["answered"] > 0, level["failed"]) == (True, {})
        tokens = round(level["tokens_per_second"] * level["seconds"])
        assert level["answered"] <= tokens <= 3 * level["answered"]
        assert (level["first_token"] is None) == (stream == "--no-stream")


@pytest.mark.usefixtures("project")
def test_loadtest_of_another_endpoint_needs_a_key_from_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HIENO_API_KEY", raising=False)
    result = run("loadtest", "--url", "http://127.0.0.1:1")
    assert result.stderr == (
        "error: --url needs a key in HIENO_API_KEY\n"
        "hint: set HIENO_API_KEY; a key never belongs on a command line\n"
    )
    assert run("loadtest", "--url", "x").stderr.startswith("error: x is not an address\n")
