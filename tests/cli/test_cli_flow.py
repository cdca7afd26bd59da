"""`hieno flow init`, and what `test` and `serve` need."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_running import Run


def test_init_writes_the_files_and_keeps_what_was_changed(run: Run, project: Path) -> None:
    flow = project / "flow"
    result = run("flow", "init")
    assert result.exit_code == 0
    assert f"wrote {flow / 'flow.dag.yaml'}\n" in result.stdout
    assert run("flow", "init").stdout == f"{flow} is as it should be\n"
    with (flow / "chat_node.py").open("a", encoding="utf-8") as node:
        node.write("# mine\n")
    assert run("flow", "init").stdout == f"kept {flow / 'chat_node.py'} (you changed it)\n"
    document = json.loads(run("flow", "init", "--json").stdout)
    assert document == {"written": [], "kept": [str(flow / "chat_node.py")]}


def test_the_folder_is_a_flag(run: Run, project: Path) -> None:
    result = run("flow", "init", "--path", "chat #1")
    assert result.exit_code == 0
    assert (project / "chat #1" / "flow.dag.yaml").is_file()


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("command", ["test", "serve"])
def test_without_an_endpoint_the_flow_says_what_to_type(run: Run, command: str) -> None:
    result = run("flow", command)
    assert result.stderr == "error: there is no endpoint 'hieno' yet\nhint: `hieno up` makes it\n"
    assert result.exit_code == 2
