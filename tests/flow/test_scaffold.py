"""The generated flow: whose files they are, and that no secret is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hieno import flow
from hieno.errors import MissingInput
from hieno.flow.scaffold import FILES, require


def test_a_flow_is_four_files_and_a_memory_of_them(tmp_path: Path) -> None:
    made = flow.init(tmp_path / "flow", name="my-model")
    assert [path.name for path in made.written] == list(FILES)
    assert made.kept == []
    present = {path.name for path in (tmp_path / "flow").iterdir()}
    assert present == {*FILES, ".hieno-generated.json"}
    assert "chats with my-model" in (tmp_path / "flow/README.md").read_text(encoding="utf-8")


def test_generating_again_writes_nothing(tmp_path: Path) -> None:
    flow.init(tmp_path, name="my-model")
    made = flow.init(tmp_path, name="my-model")
    assert (made.written, made.kept) == ([], [])


def test_a_file_that_the_user_changed_is_kept(tmp_path: Path) -> None:
    flow.init(tmp_path, name="my-model")
    node = tmp_path / "chat_node.py"
    node.write_text("# mine\n", encoding="utf-8")
    made = flow.init(tmp_path, name="another")
    assert made.kept == [node]
    assert [path.name for path in made.written] == ["README.md"]
    assert node.read_text(encoding="utf-8") == "# mine\n"


def test_a_file_that_was_there_before_is_kept(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("mine\n", encoding="utf-8")
    assert flow.init(tmp_path, name="my-model").kept == [readme]
    assert flow.init(tmp_path, name="my-model").kept == [readme]
    assert readme.read_text(encoding="utf-8") == "mine\n"


def test_a_deleted_file_comes_back(tmp_path: Path) -> None:
    flow.init(tmp_path, name="my-model")
    (tmp_path / "requirements.txt").unlink()
    made = flow.init(tmp_path, name="my-model")
    assert [path.name for path in made.written] == ["requirements.txt"]


def test_a_folder_without_a_flow_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput) as caught:
        require(tmp_path)
    assert caught.value.message == f"there is no flow in {tmp_path} (no flow.dag.yaml)"
    assert caught.value.hint == "`hieno flow init` writes one"
