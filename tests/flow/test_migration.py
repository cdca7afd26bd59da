"""From a prompt flow to an agent project: what is carried over, what is not, and the proof."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import by_hand
import pytest
from click.testing import CliRunner

from endpoint import KEY, Endpoint
from hieno import flow
from hieno.cli.commands import hieno
from hieno.errors import UsageError
from hieno.flow import shape


def edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def test_settings_and_names_are_carried_over(tmp_path: Path) -> None:
    flow.init(tmp_path / "flow", name="my-model")
    edit(
        tmp_path / "flow/flow.dag.yaml",
        ('system: ""', 'system: "Say \\"hei\\".\\n"'),
        ("max_new_tokens: 512", "max_new_tokens: 99"),
        ("temperature: 0.0", "temperature: 0.7"),
        ("history_turns: 8", "history_turns: 3"),
    )
    made = flow.migrate(tmp_path / "flow", tmp_path / "agent", name="my-model")
    assert made.unmapped == ()
    settings = tomllib.loads((tmp_path / "agent/settings.toml").read_text(encoding="utf-8"))
    assert settings == {
        "model": "my-model",
        "system": 'Say "hei".\n',
        "max_new_tokens": 99,
        "temperature": 0.7,
        "history_turns": 3,
        "names": {"question": "question", "answer": "answer"},
    }


def test_an_imported_flow_keeps_its_names(tmp_path: Path) -> None:
    source = by_hand.write(tmp_path / "old")
    flow.import_flow(source, tmp_path / "flow", name="my-model")
    made = flow.migrate(tmp_path / "flow", tmp_path / "agent", name="my-model")
    assert made.unmapped == ()
    assert shape.shape_of(tmp_path / "agent") == shape.Shape("input_data", "chat_history", "answer")


def test_what_is_not_carried_over_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "flow"
    flow.init(folder, name="my-model")
    edit(
        folder / "flow.dag.yaml",
        ("outputs:\n", "  tone:\n    type: string\noutputs:\n  score:\n    type: double\n"),
        ("    history_turns: 8", "    tone: ${inputs.tone}\n    history_turns: 8"),
        ("nodes:\n", "nodes:\n- name: look_up\n  type: python\n"),
    )
    edit(folder / "chat_node.py", ("PATIENCE = 60.0", "PATIENCE = 5.0"))
    edit(folder / "requirements.txt", ("httpx\n", "httpx\nnumpy\n"))
    (folder / "look_up.py").write_text("x = 1\n", encoding="utf-8")
    made = flow.migrate(folder, tmp_path / "agent", name="my-model")
    line = (folder / "chat_node.py").read_text(encoding="utf-8").splitlines()
    place = next(n for n, text in enumerate(line, start=1) if text.startswith("PATIENCE"))
    assert made.unmapped == (
        "flow.dag.yaml: the node 'look_up' (python)",
        "flow.dag.yaml: the input 'tone'",
        "flow.dag.yaml: the output 'score'",
        "flow.dag.yaml: the input 'tone' of the node 'chat'",
        f"chat_node.py:{place}: your code, 1 lines",
        "requirements.txt: numpy",
        "the file look_up.py",
    )


def test_migrating_again_keeps_what_the_user_changed(tmp_path: Path) -> None:
    flow.init(tmp_path / "flow", name="my-model")
    flow.migrate(tmp_path / "flow", tmp_path / "agent", name="my-model")
    edit(tmp_path / "agent/workflow.py", ('id="prepare"', 'id="mine"'))
    made = flow.migrate(tmp_path / "flow", tmp_path / "agent", name="my-model")
    assert made.scaffold.kept == [tmp_path / "agent/workflow.py"]
    assert made.scaffold.written == []


def test_a_flow_of_the_tutorial_is_imported_first(tmp_path: Path) -> None:
    source = by_hand.write(tmp_path / "old")
    with pytest.raises(UsageError) as caught:
        flow.migrate(source, tmp_path / "agent", name="my-model")
    assert caught.value.hint.startswith(f"`hieno flow import {source}`")


def test_a_setting_that_is_no_number_is_named(tmp_path: Path) -> None:
    flow.init(tmp_path / "flow", name="my-model")
    edit(tmp_path / "flow/flow.dag.yaml", ("max_new_tokens: 512", "max_new_tokens: many"))
    with pytest.raises(UsageError, match="the node's max_new_tokens is 'many'"):
        flow.migrate(tmp_path / "flow", tmp_path / "agent", name="my-model")


def test_both_are_asked_the_same_lines_and_a_difference_fails(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIENO_ENDPOINT", endpoint.url)
    monkeypatch.setenv("HIENO_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    source = by_hand.write(tmp_path / "old")  # its temperature is 0.7
    flow.import_flow(source, tmp_path / "flow", name="my-model")
    history = [{"inputs": {"input_data": "a"}, "outputs": {"answer": "b"}}]
    rows = [{"input_data": "one"}, {"input_data": "two", "chat_history": history}]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    call = ["flow", "migrate", "--data", str(data), "--json"]
    proven = CliRunner().invoke(hieno, call)
    assert proven.exit_code == 0
    parity = json.loads(proven.stdout)["parity"]
    assert (parity["lines"], parity["same"], parity["different"]) == (2, 2, [])
    sent = [request.get("params", request)["temperature"] for request in endpoint.requests]
    assert sent == [0.0] * 4
    assert "temperature = 0.7" in (tmp_path / "agent/settings.toml").read_text(encoding="utf-8")

    edit(tmp_path / "agent/settings.toml", ("history_turns = 8", "history_turns = 0"))
    shown = CliRunner().invoke(hieno, call[:-1])
    assert shown.exit_code == 5
    assert "1 of 2 lines have the same answer from both" in shown.stdout
    assert "    flow:  '3 messages, the last is two'" in shown.stdout
    assert "    agent: '1 messages, the last is two'" in shown.stdout
