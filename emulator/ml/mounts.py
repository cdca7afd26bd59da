"""Folders of a job that are blobs: inputs that were read, outputs that are written as it works."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from azure.core.exceptions import ResourceNotFoundError

from emulator.ml.blobs import Place


@dataclass
class Mount:
    """A folder whose files are also blobs. What stands there at the start was there before.

    As on a node, a file is a blob soon after it is written, and no longer once it is removed or
    called something else.
    """

    folder: Path
    place: Place
    live: bool = True  # False: written at the end only
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)

    def fill(self) -> None:
        """Empty the folder and read what is stored."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        with suppress(FileNotFoundError):
            self.place.download(self.folder)
        self._known = self._state()

    def write(self) -> None:
        """Bring the blobs to what the folder holds now."""
        now = self._state()
        changed = [name for name, state in now.items() if self._known.get(name) != state]
        gone = [name for name in self._known if name not in now]
        account, container = self.place.account, self.place.container
        with account.client() as client:
            target = client.get_container_client(container)
            for name in changed:
                # it may be gone since it was seen: the job is at work
                with suppress(FileNotFoundError), (self.folder / name).open("rb") as content:
                    target.upload_blob(self._blob(name), content, overwrite=True)
            for name in gone:
                with suppress(ResourceNotFoundError):  # it was seen, and gone before it was read
                    target.delete_blob(self._blob(name))
        self._known = now

    def _blob(self, name: str) -> str:
        return f"{self.place.path.rstrip('/')}/{name}".lstrip("/")

    def _state(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in sorted(self.folder.rglob("*")):
            with suppress(FileNotFoundError):
                if path.is_file():
                    facts = path.stat()
                    name = path.relative_to(self.folder).as_posix()
                    found[name] = (facts.st_mtime_ns, facts.st_size)
        return found
