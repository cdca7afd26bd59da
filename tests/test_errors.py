"""The error tree: exit codes, pickling, and what another process reported by name."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest

from hieno import errors
from hieno.errors import BadRow, DiskFull, HienoError, Unreachable, disk_full_is_named, rebuild


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("HienoError", 1),
        ("BrokenArtifact", 1),
        ("UserError", 2),
        ("UsageError", 2),
        ("ConfigError", 2),
        ("MissingInput", 2),
        ("BadData", 2),
        ("BadRow", 2),
        ("AccessDenied", 2),
        ("TryLater", 3),
        ("Busy", 3),
        ("DiskFull", 3),
        ("Unreachable", 3),
        ("GateFailed", 5),
        ("Interrupted", 130),
    ],
)
def test_each_class_has_its_exit_code(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_every_class_is_drawn_at_the_top_of_the_module() -> None:
    kinds, todo = set(), [HienoError]
    while todo:
        kind = todo.pop()
        kinds.add(kind.__name__)
        todo += [sub for sub in kind.__subclasses__() if sub.__module__ == "hieno.errors"]
    assert errors.__doc__ is not None
    assert {name for name in kinds if name not in errors.__doc__} == set()


def test_bad_row_starts_with_file_and_line() -> None:
    error = BadRow(Path("chats.jsonl"), line=17, problem="role is 'bot'", hint="use assistant")
    assert str(error) == "chats.jsonl:17: role is 'bot'"
    assert error.hint == "use assistant"


def test_an_error_reported_by_name_comes_back_as_its_class() -> None:
    error = rebuild("Unreachable", "no answer", "try again")
    assert type(error) is Unreachable
    assert (error.message, error.hint, error.exit_code, str(error)) == (
        "no answer",
        "try again",
        3,
        "no answer",
    )


def test_a_name_that_is_not_ours_becomes_the_plain_error() -> None:
    error = rebuild("KeyError", "'x'", "look into the log")
    assert (type(error), error.exit_code) == (HienoError, 1)


def test_an_error_survives_the_way_to_another_process_whatever_its_constructor_takes() -> None:
    sent = BadRow(Path("a.jsonl"), line=3, problem="is empty", hint="write something")
    back = pickle.loads(pickle.dumps(sent))  # noqa: S301  # our own bytes
    assert (type(back), back.message, back.hint) == (BadRow, "a.jsonl:3: is empty", sent.hint)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"),
        Exception("Error while serializing: IoError(Os { code: 28, kind: StorageFull })"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ],
)
def test_a_full_disk_is_known_in_every_librarys_words(error: Exception) -> None:
    with pytest.raises(DiskFull) as caught, disk_full_is_named(Path("/data/x")):
        raise error
    assert caught.value.message == "no space left on the disk of /data/x"
    assert caught.value.exit_code == 3


def test_other_errors_pass_through_unchanged() -> None:
    with pytest.raises(PermissionError), disk_full_is_named(Path("/data/x")):
        raise PermissionError(errno.EACCES, "Permission denied")
