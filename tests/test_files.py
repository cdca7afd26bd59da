"""Files that are whole or not there: kills, full disks, flipped bytes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hieno import files
from hieno.errors import BrokenArtifact, DiskFull, MissingInput

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="mounts and kills as Linux does")


def publish(folder: Path, text: str, *, key: str = "k1") -> None:
    with files.published(folder, kind="dataset", key=key) as (partial, facts):
        (partial / "inner").mkdir()
        (partial / "inner" / "rows.jsonl").write_text(text, encoding="utf-8")
        facts["rows"] = 1


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_published_folder_has_its_files_facts_and_digests(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "dataset"
    publish(folder, "one\n")
    manifest = files.verify(folder)
    assert (manifest.kind, manifest.key, manifest.facts) == ("dataset", "k1", {"rows": 1})
    digest = files.digest_file(folder / "inner" / "rows.jsonl")
    assert manifest.files == {"inner/rows.jsonl": digest}
    assert manifest.digest == files.digest_files(manifest.files)
    assert left_over(folder) == []


def test_publishing_again_replaces_the_folder_whole(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    publish(folder, "one\n", key="k1")
    (folder / "stray").write_text("x", encoding="utf-8")
    publish(folder, "two\n", key="k2")
    assert files.verify(folder).key == "k2"
    assert not (folder / "stray").exists()
    assert left_over(folder) == []


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_a_failure_midway_keeps_the_earlier_folder(tmp_path: Path, error: BaseException) -> None:
    folder = tmp_path / "dataset"
    publish(folder, "one\n")

    def fail() -> None:
        with files.published(folder, kind="dataset", key="k2") as (partial, _):
            (partial / "rows").write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert files.verify(folder).key == "k1"
    assert left_over(folder) == []


KILLED_MIDWAY = """
import sys, time
from pathlib import Path
from hieno import files
with files.published(Path(sys.argv[1]), kind="dataset", key="k2") as (partial, _):
    (partial / "rows").write_text("half", encoding="utf-8")
    print("writing", flush=True)
    time.sleep(60)
"""


@linux_only
@pytest.mark.parametrize("earlier", [False, True])
def test_a_kill_midway_leaves_no_folder_or_the_earlier_one(tmp_path: Path, earlier: bool) -> None:
    folder = tmp_path / "dataset"
    if earlier:
        publish(folder, "one\n")
    command = [sys.executable, "-c", KILLED_MIDWAY, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
    manifest = files.read_manifest(folder)
    assert (manifest.key if manifest else None) == ("k1" if earlier else None)
    publish(folder, "three\n", key="k3")
    assert files.verify(folder).key == "k3"
    assert left_over(folder) == []


def test_whatever_call_is_the_last_before_a_kill_the_folder_is_whole_or_absent(
    tmp_path: Path,
) -> None:
    script = """
import os, sys
from pathlib import Path
from hieno import files, seal
seal.code_digest()  # reads a file for each module, and writes nothing
count, last = 0, int(sys.argv[2])
def counted(event, arguments):
    global count
    if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"):
        count += 1
        if count == last:
            os._exit(9)
folder = Path(sys.argv[1])
sys.addaudithook(counted)
with files.published(folder, kind="dataset", key="k2") as (partial, _):
    (partial / "rows").write_text("two", encoding="utf-8")
os._exit(0)
"""
    seen = set()
    for last in range(1, 60):
        folder = tmp_path / str(last) / "dataset"
        publish(folder, "one\n")
        command = [sys.executable, "-c", script, str(folder), str(last)]
        code = subprocess.run(command, check=False, timeout=60).returncode
        if folder.exists():
            seen.add(files.verify(folder).key)
        else:
            seen.add("absent")
        if code == 0:
            break
    else:
        pytest.fail("publishing makes more calls than this test kills at")
    assert {"k1", "k2"} <= seen <= {"k1", "k2", "absent"}


@linux_only
def test_a_full_disk_is_named_and_keeps_the_earlier_folder(small_disk: Path) -> None:
    folder = small_disk / "dataset"
    publish(folder, "one\n")
    with pytest.raises(DiskFull) as caught:
        publish(folder, "x" * 2_000_000, key="k2")
    assert caught.value.message == f"no space left on the disk of {folder}"
    assert caught.value.exit_code == 3
    assert files.verify(folder).key == "k1"
    assert left_over(folder) == []


@linux_only
def test_a_full_disk_keeps_the_earlier_file(small_disk: Path) -> None:
    path = small_disk / "state.json"
    files.write_json(path, {"version": 1})
    with pytest.raises(DiskFull):
        files.write_atomic(path, "x" * 2_000_000)
    assert files.read_json(path) == {"version": 1}
    assert left_over(path) == []


@pytest.mark.parametrize("harm", ["flip", "delete", "grow"])
def test_verify_finds_every_difference(tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "dataset"
    publish(folder, "one\n")
    path = folder / "inner" / "rows.jsonl"
    if harm == "flip":
        data = bytearray(path.read_bytes())
        data[1] ^= 1
        path.write_bytes(bytes(data))
    elif harm == "grow":
        path.write_text("one\n\n", encoding="utf-8")
    else:
        path.unlink()
    with pytest.raises(BrokenArtifact) as caught:
        files.verify(folder)
    assert caught.value.message == f"{path} is not what was published (digest differs)"
    assert caught.value.hint == f"delete {folder} and run `hieno up` to make it again"


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}", b"\xff\xfe", b'{"kind": "dataset"}'])
def test_a_folder_without_a_whole_manifest_does_not_exist(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / files.MANIFEST).write_bytes(content)
    assert files.read_manifest(tmp_path) is None
    with pytest.raises(BrokenArtifact) as caught:
        files.verify(tmp_path)
    assert caught.value.message == f"{tmp_path} is not complete"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{}", encoding="utf-8")
    path.chmod(0o644)
    files.write_json(path, {"primary": "k"}, private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "x").write_text("", encoding="utf-8")
    with pytest.raises(OSError, match=r"(?i)directory"):
        files.write_atomic(path, "text")
    assert left_over(path) == []


def test_json_is_written_for_people_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "value.json"
    files.write_json(path, {"b": 1, "a": "ä"})
    assert path.read_text(encoding="utf-8") == '{\n  "a": "ä",\n  "b": 1\n}\n'
    assert files.read_json(path) == {"a": "ä", "b": 1}


def test_broken_json_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(BrokenArtifact) as caught:
        files.read_json(path)
    assert caught.value.message.startswith(f"{path} is not valid JSON: ")


def test_jsonl_rows_come_one_by_one_and_empty_lines_are_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": "\u2028"}\n', encoding="utf-8")
    assert list(files.read_jsonl(path)) == [{"a": 1}, {"a": "\u2028"}]


def test_digests_do_not_depend_on_order_but_on_every_name_and_value() -> None:
    assert files.digest_json({"a": 1, "b": 2}) == files.digest_json({"b": 2, "a": 1})
    assert files.digest_json({"a": 1}) != files.digest_json({"a": "1"})
    first = files.digest_files({"a": "1", "b": "2"})
    assert first == files.digest_files({"b": "2", "a": "1"})
    assert first != files.digest_files({"a": "2", "b": "1"})


def test_the_manifest_is_json_that_names_the_version_which_wrote_it(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    publish(folder, "one\n")
    raw = json.loads((folder / files.MANIFEST).read_text(encoding="utf-8"))
    assert set(raw) == {
        *("kind", "key", "digest", "created", "hieno", "code", "origin"),
        *("files", "beside", "facts", "seal"),
    }


@linux_only
def test_a_read_only_file_can_be_published_by_a_plain_user() -> None:
    """A tokenizer copied from a read-only folder keeps its mode."""
    script = """
import os, sys
from pathlib import Path
from hieno import files
if os.getuid() == 0:  # root may write to every file
    os.setgid(65534)
    os.setuid(65534)
folder = Path(sys.argv[1])
with files.published(folder, kind="model", key="k") as (partial, _):
    (partial / "tokenizer.json").write_text("{}", encoding="utf-8")
    (partial / "tokenizer.json").chmod(0o444)
files.verify(folder)
"""
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        if os.getuid() == 0:
            os.chown(place, 65534, 65534)
        command = [sys.executable, "-c", script, str(Path(place) / "model")]
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", check=False
        )
    assert done.stderr == ""
    assert done.returncode == 0


def test_files_that_lie_elsewhere_are_missed_only_where_all_are_needed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with files.published(folder, kind="run", key="k") as (partial, _):
        (partial / "adapter").mkdir()
        for name in ("adapter/weights", "metrics.jsonl"):
            (partial / name).write_text(name, encoding="utf-8")
    weights = folder / "adapter" / "weights"
    content = weights.read_text(encoding="utf-8")
    files.leave_elsewhere(folder, "https://there/run", ["adapter/weights"])
    assert files.verify(folder).key == "k"  # all of it is here still

    weights.unlink()
    assert files.verify(folder, whole=False).key == "k"
    with pytest.raises(MissingInput) as caught:
        files.verify(folder)
    assert caught.value.message == f"the weights of {folder} are at https://there/run"

    weights.write_text("another", encoding="utf-8")
    with pytest.raises(BrokenArtifact):
        files.verify(folder, whole=False)
    weights.write_text(content, encoding="utf-8")
    assert files.verify(folder).key == "k"
    (folder / "metrics.jsonl").unlink()
    with pytest.raises(BrokenArtifact):
        files.verify(folder, whole=False)
