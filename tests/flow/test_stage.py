"""The stage `flow` of `hieno up`: made once, and current until something of it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from endpoint import KEY, Endpoint
from hieno import describe
from hieno.cli.output import reporter
from hieno.flow import stage
from hieno.project import open_project
from hieno.targets import Address


@pytest.mark.parametrize(
    ("framework", "folder", "what"),
    [
        ("promptflow", "flow", "page"),
        pytest.param("agent-framework", "agent", "agent", marks=pytest.mark.slow),
    ],
)
def test_a_flow_is_current_until_a_file_of_it_or_the_model_changes(
    tmp_path: Path, endpoint: Endpoint, framework: str, folder: str, what: str
) -> None:
    text = f"name: my-model\nmodel: demo\nflow:\n  framework: {framework}\n"
    (tmp_path / "hieno.yaml").write_text(text, encoding="utf-8")
    project, address = open_project(tmp_path), Address(endpoint.url, SecretStr(KEY))
    assert stage.look(project, address, "digest") is None
    try:
        stage.make(project, address, "digest", ["Hello", "Again"], reporter())
        found = stage.look(project, address, "digest")
        assert found is not None
        assert found["chat"][1] == {"question": "Again", "answer": "3 messages, the last is Again"}
        assert describe.flow(found) == f"two-turn chat answered; {what} at {found['url']}"
        assert Path(found["folder"]) == tmp_path / folder
        assert stage.look(project, address, "another") is None
        (tmp_path / folder / "README.md").write_text("mine\n", encoding="utf-8")
        assert stage.look(project, address, "digest") is None
    finally:
        assert len(stage.stop(project)) == 1
