"""Everything that hieno raises on purpose.

    HienoError                 1   it failed
    ├── BrokenArtifact         1   files do not match the digests they were published with
    ├── UserError              2   the user must change something
    │   ├── UsageError             a command was called wrongly
    │   ├── ConfigError            hieno.yaml, a flag or the environment is wrong
    │   ├── MissingInput           a file, folder or model that was named is not there
    │   ├── BadData                chats that cannot be used
    │   │   └── BadRow             ... one row of them
    │   └── AccessDenied           a key or a permission is missing or wrong
    ├── TryLater               3   the same command may succeed later
    │   ├── Busy                   a lock or a port is taken
    │   ├── DiskFull
    │   └── Unreachable            a server does not answer, or says to come back
    ├── GateFailed             5   a quality gate said no
    └── Interrupted          130   Ctrl-C; what was done so far is kept

Every error says what and where in `message`, and in `hint` the next thing to type.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar


class HienoError(Exception):
    """Carry a message (what and where) and a hint (what to do next)."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (rebuild, (type(self).__name__, self.message, self.hint))


class BrokenArtifact(HienoError):
    """Files do not match the digests they were published with."""


class UserError(HienoError):
    """The user must change something before the same command can succeed."""

    exit_code = 2


class UsageError(UserError):
    """A command was called in a way that cannot work."""


class ConfigError(UserError):
    """A setting is unknown, malformed or contradicts another."""


class MissingInput(UserError):
    """A file, a folder or a model that was named is not there."""


class BadData(UserError):
    """Chats that cannot be used."""


class BadRow(BadData):
    """One row of the user's chats is wrong; the message starts with `file:line`."""

    def __init__(self, path: Path, *, line: int, problem: str, hint: str) -> None:
        super().__init__(f"{path}:{line}: {problem}", hint=hint)


class AccessDenied(UserError):
    """A key or a permission is missing or wrong."""


class TryLater(HienoError):
    """Nothing is wrong with the command; the same one may succeed later."""

    exit_code = 3


class Busy(TryLater):
    """A lock or a port is held by somebody else."""


class DiskFull(TryLater):
    """There is no room left where something was to be written."""


class Unreachable(TryLater):
    """A server does not answer, or says to come back later."""


class GateFailed(HienoError):
    """The model is not good enough to be served."""

    exit_code = 5


class Interrupted(HienoError):
    """The user pressed Ctrl-C; what was done so far is kept."""

    exit_code = 130


def rebuild(kind: str, message: str, hint: str) -> HienoError:
    """Return the error that another process of ours reported by name."""
    found = _by_name().get(kind, HienoError)
    error = found.__new__(found)
    HienoError.__init__(error, message, hint=hint)
    return error


@contextmanager
def disk_full_is_named(path: Path) -> Iterator[None]:
    """Turn "no space left" from any library into `DiskFull` with the free space at `path`."""
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise DiskFull(
            f"no space left on the disk of {path}",
            hint="free some space, then type the same command again: nothing half-written is kept",
        ) from error


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means a full disk, also when a native library only says so in words."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    words = str(error)
    torch_stopped = (
        "inline_container" in words and "unexpected pos" in words
    )  # writing a checkpoint
    spoken = ("No space left on device", "StorageFull", "code: 28")
    return torch_stopped or any(phrase in words for phrase in spoken)


def _by_name() -> dict[str, type[HienoError]]:
    found: dict[str, type[HienoError]] = {}
    todo: list[type[HienoError]] = [HienoError]
    while todo:
        kind = todo.pop()
        found[kind.__name__] = kind
        todo.extend(kind.__subclasses__())
    return found
