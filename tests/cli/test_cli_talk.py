"""`hieno keys`, `hieno serve` and `hieno chat` against a real model behind a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from cli_running import HIENO, Run, pretend

from hieno.endpoint import credentials
from hieno.endpoint.page import invitations
from hieno.endpoint.page.invitations import Allowance
from hieno.processes import ProcessId, identify


@pytest.fixture
def deployed(project: Path, server: str) -> Path:
    """A project whose endpoint is the tiny model; the server itself asks for no key."""
    return pretend(project, int(server.rpartition(":")[2]), identify(os.getpid()))


@pytest.mark.usefixtures("deployed")
def test_one_question_as_json_has_its_answer(run: Run) -> None:
    result = run("chat", "--json", "--max-new-tokens", "5", "What", "is", "new?")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["question"] == "What is new?"
    assert isinstance(document["answer"], str)


@pytest.mark.usefixtures("deployed")
def test_through_a_pipe_every_line_is_a_question() -> None:
    done = subprocess.run(
        [*HIENO, "chat", "--max-new-tokens", "5"],
        input="one?\ntwo?\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == 2 * "(stopped after 5 tokens: --max-new-tokens)\n"
    assert done.stdout.count("\n") >= 2


@pytest.mark.usefixtures("project")
def test_without_an_endpoint_chat_says_what_to_type(run: Run) -> None:
    result = run("chat", "Hello?")
    assert result.stderr == ("error: there is no endpoint 'hieno' yet\nhint: `hieno up` makes it\n")
    assert result.exit_code == 2


def test_a_stopped_endpoint_is_named(run: Run, project: Path) -> None:
    pretend(project, 8000, ProcessId(os.getpid(), started=0.0))
    result = run("chat", "Hello?")
    assert result.stderr == (
        "error: the endpoint 'hieno' is stopped\nhint: `hieno up` starts it again\n"
    )
    assert result.exit_code == 3


@pytest.mark.usefixtures("project")
def test_a_conversation_has_no_json(run: Run) -> None:
    result = run("chat", "--json")
    assert json.loads(result.stdout)["error"]["message"] == "--json needs a question"
    assert result.exit_code == 2


LINK = r"http://127\.0\.0\.1:8000/chat/#[\w-]{22}"


def test_a_link_to_the_page_is_data_and_its_terms_are_talk(run: Run, project: Path) -> None:
    folder = pretend(project, 8000, identify(os.getpid()))
    result = run("chat", "--web")
    assert re.fullmatch(LINK + "\n", result.stdout)
    assert result.stderr == "open it within five minutes; it works once\n"
    [kept] = invitations.read(folder)
    assert kept.allowance is None
    assert invitations.find([kept], result.stdout.strip()[-22:], now=kept.until - 1) == kept
    assert invitations.find([kept], result.stdout.strip()[-22:], now=kept.until) is None


def test_each_guest_gets_a_link_with_limits_of_its_own(run: Run, project: Path) -> None:
    folder = pretend(project, 8000, identify(os.getpid()))
    result = run("chat", "--invite", "3", "--requests", "5", "--tokens", "900", "--hours", "2")
    lines = result.stdout.splitlines()
    assert len(set(lines)) == 3
    assert all(re.fullmatch(LINK, line) for line in lines)
    assert result.stderr == "one link each: 5 questions, 900 tokens, 2 hours\n"
    kept = invitations.read(folder)
    assert [one.allowance for one in kept] == 3 * [Allowance(5, 900)]
    assert [one.stay for one in kept] == 3 * [7200]
    document = json.loads(run("chat", "--invite", "1", "--json").stdout)
    assert re.fullmatch(LINK, document["links"][0])
    assert (document["requests"], document["tokens"], document["hours"]) == (200, 50_000, 24)


def test_links_that_make_no_sense_are_refused(run: Run, project: Path) -> None:
    folder = pretend(project, 8000, identify(os.getpid()))
    assert run("chat", "--web", "Hello?").stderr == (
        "error: a question has no page\nhint: leave out --web, or the question\n"
    )
    assert run("chat", "--invite", "499").exit_code == 0
    result = run("chat", "--invite", "2")
    assert result.stderr == (
        "error: 499 links are open and 2 are asked for; 500 can be open\n"
        f"hint: wait until they are used or too old, or delete {folder / 'invitations.json'}\n"
    )
    assert result.exit_code == 2
    assert run("chat", "--invite", "0").exit_code == 2


def test_a_stopped_endpoint_has_no_page(run: Run, project: Path) -> None:
    pretend(project, 8000, ProcessId(os.getpid(), started=0.0))
    result = run("chat", "--web")
    assert result.stderr == (
        "error: the endpoint 'hieno' is stopped\nhint: `hieno up` starts it again\n"
    )
    assert (result.stdout, result.exit_code) == ("", 3)


def test_keys_are_shown_and_one_can_be_renewed(run: Run, project: Path) -> None:
    folder = pretend(project, 8000, ProcessId(os.getpid(), started=0.0))
    before = json.loads(run("keys", "--json").stdout)
    assert run("keys").stdout == (
        f"primary    {before['primary']}\nsecondary  {before['secondary']}\n"
    )
    after = json.loads(run("keys", "--json", "--regenerate", "primary").stdout)
    assert after["primary"] != before["primary"]
    assert after["secondary"] == before["secondary"]
    assert credentials.read(folder).primary.get_secret_value() == after["primary"]


@pytest.mark.usefixtures("project")
def test_without_an_endpoint_there_are_no_keys(run: Run) -> None:
    result = run("keys")
    assert result.stderr.endswith("hint: `hieno deploy` makes one, with its keys\n")
    assert result.exit_code == 2


@pytest.mark.usefixtures("project")
def test_serve_without_a_model_wants_a_registered_version(run: Run) -> None:
    result = run("serve")
    assert result.stderr == (
        "error: there is no registered version to serve\n"
        "hint: `hieno register` makes one; or name a model folder: `hieno serve DIR`\n"
    )
    assert result.exit_code == 2


def test_serve_refuses_a_folder_that_is_not_there(run: Run) -> None:
    result = run("serve", "nowhere")
    assert result.stderr == (
        "error: there is no folder nowhere\nhint: name a package or a folder with config.json\n"
    )
    assert result.exit_code == 2
