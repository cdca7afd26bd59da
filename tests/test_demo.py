"""The demo project is what it says it is, and it is copied without harming anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hieno import demo, machine
from hieno.describe import ending
from hieno.errors import UsageError
from hieno.files import write_json
from hieno.project import open_project


def test_the_demo_is_copied_once_and_then_left_alone(tmp_path: Path) -> None:
    folder = demo.demo(tmp_path / "here")
    assert open_project(folder).config.name == "kuikka-cove"
    (folder / "hieno.yaml").write_text("name: mine\n", encoding="utf-8")
    assert demo.demo(folder) == folder
    assert open_project(folder).config.name == "mine"


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        demo.demo(tmp_path)
    assert caught.value.message == f"{tmp_path} is not empty and holds no hieno.yaml"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_every_file_that_the_demo_names_is_there(tmp_path: Path) -> None:
    project = open_project(demo.demo(tmp_path / "here"))
    config = project.config
    for name in (config.data.source, config.data.test, config.data.replay, config.evaluate.general):
        assert name is not None
        assert project.path(name).is_file()


def test_the_demo_data_pass_their_own_check() -> None:
    script = demo.SOURCE / "check_data.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "all green"


def test_the_estimate_is_inverse_to_the_machines_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIENO_HOME", str(tmp_path))
    identity = machine.speed().machine
    training = []
    for rate in (1e11, 2e11):
        known = {"machine": identity, "bfloat16": rate, "float32": 1e10}
        write_json(tmp_path / "machine.json", known)
        training.append(demo.seconds() - demo.OTHER_SECONDS)
    assert training[0] == pytest.approx(2 * training[1])


def test_the_closing_lines_show_both_answers_and_where_to_chat() -> None:
    shown = [{"question": "Who?", "base": "I am\na model", "tuned": "x" * 200}]
    details = {
        "evaluate": {"shown": shown},
        "deploy": {"score_url": "http://127.0.0.1:8000/score"},
        "flow": {"url": "http://127.0.0.1:8080"},
    }
    assert ending(details) == [
        "asked    Who?",
        "  base   I am a model",
        f"  tuned  {'x' * 97}...",
        "endpoint http://127.0.0.1:8000/score (keys: `hieno keys`)",
        "page     `hieno chat --web` prints a link to the chat page",
        "chat     http://127.0.0.1:8080 or `hieno chat` here",
    ]
    assert ending({}) == []
