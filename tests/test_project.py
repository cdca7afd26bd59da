"""A project's folder, its nearest `hieno.yaml`, and its lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from hieno import project as projects
from hieno.errors import Busy, MissingInput


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "hieno.yaml").write_text("name: books\nmodel: demo\n", encoding="utf-8")
    return tmp_path.resolve()


def test_the_nearest_project_is_found_from_inside(root: Path) -> None:
    inner = root / "data" / "raw"
    inner.mkdir(parents=True)
    assert projects.find(inner) == root
    (root / "data" / "hieno.yaml").write_text("name: inner\n", encoding="utf-8")
    assert projects.find(inner) == root / "data"
    assert projects.find(root / "data") == root / "data"


def test_no_project_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(MissingInput) as caught:
        projects.find(tmp_path)
    assert caught.value.message == f"there is no hieno.yaml in {tmp_path.resolve()} or above it"
    assert caught.value.hint == (
        "`hieno init` makes a project here; `hieno demo` shows one at work"
    )


def test_an_opened_project_knows_its_configuration_and_folders(root: Path) -> None:
    project = projects.open_project(root, flags={"endpoint.name": "library"})
    assert (project.root, project.config.name) == (root, "books")
    assert project.state == root / ".hieno"
    assert project.endpoint == root / ".hieno" / "endpoint" / "library"
    assert project.tracking_uri == f"sqlite:///{root.as_posix()}/.hieno/mlflow.db"


def test_paths_of_the_configuration_start_at_the_root(root: Path) -> None:
    project = projects.open_project(root)
    assert project.path("data/chats.jsonl") == root / "data" / "chats.jsonl"
    assert project.path(str(root.parent / "x")) == root.parent / "x"
    assert project.path("~/x") == Path("~/x").expanduser().resolve()


HOLDER = """
import sys
from pathlib import Path
from hieno import project as projects
with projects.locked(projects.open_project(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_command_is_busy_until_the_first_one_ends(root: Path) -> None:
    project = projects.open_project(root)
    command = [sys.executable, "-c", HOLDER, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy) as caught, projects.locked(project):
            pytest.fail("two commands hold the lock")
        assert caught.value.message == (
            f"another hieno command (process {holder.pid}) is at work in {root}"
        )
        assert caught.value.exit_code == 3
        holder.communicate(b"\n", timeout=30)
    with projects.locked(project):
        pass


def test_the_lock_of_a_killed_command_is_free_again(root: Path) -> None:
    project = projects.open_project(root)
    command = [sys.executable, "-c", HOLDER, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        holder.wait(timeout=30)
    with projects.locked(project):
        pass


def test_another_lock_that_is_taken_inside_is_not_mistaken_for_the_projects(root: Path) -> None:
    project = projects.open_project(root)
    with FileLock(root / "other.lock") as other, pytest.raises(Timeout), projects.locked(project):
        raise Timeout(other.lock_file)
    with projects.locked(project):
        pass


def test_what_is_made_stays_out_of_git(root: Path) -> None:
    with projects.locked(projects.open_project(root)):
        assert (root / ".hieno" / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_the_users_folder_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "elsewhere"))
    assert projects.home() == (tmp_path / "elsewhere").resolve()
