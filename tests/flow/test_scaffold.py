"""The generated flow: whose files they are, and that no secret is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hieno import flow
from hieno.errors import MissingInput
from hieno.flow.chat_project import Chat, files
from hieno.flow.frameworks import FRAMEWORKS, PROMPTFLOW, Framework, entry


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)
def test_a_project_is_its_files_and_a_memory_of_them(tmp_path: Path, framework: Framework) -> None:
    made = flow.init(tmp_path / "made", name="my-model", framework=framework)
    expected = files(Chat("my-model"), framework)
    assert [path.relative_to(tmp_path / "made").as_posix() for path in made.written] == [*expected]
    assert made.kept == []
    assert (tmp_path / "made/.hieno-generated.json").is_file()
    assert "chats with my-model" in (tmp_path / "made/README.md").read_text(encoding="utf-8")
    assert entry(tmp_path / "made")[0] is framework


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
        entry(tmp_path)
    assert caught.value.message == (
        f"there is no flow in {tmp_path} (no flow.dag.yaml, no agent.py)"
    )
    assert caught.value.hint == "`hieno flow init` writes one"


def test_the_other_spelling_of_the_flows_file_is_read_and_kept(tmp_path: Path) -> None:
    other = tmp_path / "flow.dag.yml"
    other.write_text("nodes: []\n", encoding="utf-8")
    made = flow.init(tmp_path, name="my-model")
    assert made.kept == [other]
    assert not (tmp_path / "flow.dag.yaml").exists()
    assert entry(tmp_path) == (PROMPTFLOW, other)
