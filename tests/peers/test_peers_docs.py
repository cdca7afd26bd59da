"""The snippets of docs/clients.md, run as they stand there against a real container."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import serving
from hieno.project import home

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
OPENAI = "7.57.0"  # npm's


@pytest.fixture(scope="module")
def environment(
    tiny_model: Path, tiny_package: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """What a reader of the page exports, and a project to stand in."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "hieno.yaml").write_text("name: my-model\nmodel: demo\n", encoding="utf-8")
    flags = ("--cache-gb", "1", "--name", "my-model")
    with serving(tiny_package or tiny_model, folder, *flags) as url:
        names = {"HIENO_ENDPOINT": url, "HIENO_API_KEY": "none", "PWD": str(folder)}
        scripts = str(Path(sys.executable).parent)
        path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
        yield os.environ | names | {"PATH": path, "no_proxy": "127.0.0.1"}


def snippets(heading: str, language: str) -> list[str]:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S)
    assert section is not None
    found = re.findall(rf"^```{language}\n(.*?)^```", section[1], re.M | re.S)
    assert found
    return found


def answer(command: list[str], environment: dict[str, str], text: str | None = None) -> str:
    done = subprocess.run(
        command,
        input=text,
        env=environment,
        cwd=environment["PWD"],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    return done.stdout


def test_every_snippet_of_the_page_is_run_by_a_test_below() -> None:
    headings = re.findall(r"^## (.+)$", PAGE.read_text("utf-8"), re.M)
    assert headings == [
        "curl",
        "OpenAI in Python",
        "OpenAI in JavaScript",
        "LangChain",
        "Agent Framework",
        "The terminal",
    ]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_is_answered_on_both_routes(environment: dict[str, str]) -> None:
    chat, score = snippets("curl", "sh")
    assert '"object":"chat.completion"' in answer(["sh", "-c", chat], environment)
    assert answer(["sh", "-c", score], environment).startswith('["')


@pytest.mark.parametrize("heading", ["OpenAI in Python", "LangChain", "Agent Framework"])
def test_python_clients_are_answered(environment: dict[str, str], heading: str) -> None:
    for snippet in snippets(heading, "python"):
        answer([sys.executable, "-"], environment, snippet)


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_the_javascript_client_is_answered(environment: dict[str, str]) -> None:
    folder = home() / "npm" / f"openai-{OPENAI}"  # fetched once per user, as side environments are
    if not (folder / "node_modules" / "openai").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        call = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund"]
        done = subprocess.run([*call, f"openai@{OPENAI}"], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip("npm cannot fetch the package openai")
    for number, snippet in enumerate(snippets("OpenAI in JavaScript", "js")):
        script = folder / f"snippet-{number}.mjs"
        script.write_text(snippet, encoding="utf-8")
        answer(["node", str(script)], environment)


def test_the_terminal_is_answered(environment: dict[str, str]) -> None:
    for snippet in snippets("The terminal", "sh"):
        answer(["sh", "-c", snippet], environment)
