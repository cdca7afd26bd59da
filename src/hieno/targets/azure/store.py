"""The workspace's blob store: files by their content, and the folders that jobs publish.

    hieno/content/DIGEST/...          what went up from a machine, once for all projects
    hieno/PROJECT/runs/KEY/...        what a job published, as it would lie under .hieno/
    hieno/PROJECT/runs/KEY.work/...   what an interrupted job left to go on from

A folder there counts only when its manifest and every file that it names are there, so a copy
that was cut short is nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # the container's client, of a library that is imported late; JSON

from hieno.files import MANIFEST, Manifest, digest_file, read_manifest

DATASTORE = "workspaceblobstore"
TOGETHER = 4  # transfers at the same time
ROOT = "hieno"


@dataclass(frozen=True)
class Store:
    """One blob container, and the project's place in it."""

    container: Any
    project: str

    def uri(self, path: str) -> str:
        """Return how jobs and models name a path."""
        return f"azureml://datastores/{DATASTORE}/paths/{path}"

    def url(self, path: str) -> str:
        """Return the web address of a path."""
        return f"{self.container.url}/{path}"

    def place(self, folder: Path) -> str:
        """Return where the folder of a stage's result lies: as it does under `.hieno`."""
        return f"{ROOT}/{self.project}/{folder.parent.name}/{folder.name}"

    def put_file(self, path: Path, digest: str) -> str:
        """Send a file unless its content is there; return its path."""
        place = f"{ROOT}/content/{digest}/{path.name}"
        if self.sizes(place).get(place) != path.stat().st_size:
            self.send(path, place)
        return place

    def put_folder(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        place: str = "",
        told: Callable[[int, int], None] = lambda done, total: None,
    ) -> str:
        """Send a published folder unless it is there; return its path.

        What an interrupted call has sent is not sent again; the manifest goes last. `told` hears
        how many bytes of how many are there.
        """
        place = place or f"{ROOT}/content/{manifest.digest}"
        if self.holds(place, manifest):
            return place
        names = [*manifest.files, *manifest.beside]
        there = self.sizes(f"{place}/")
        sizes = {name: (folder / name).stat().st_size for name in names}
        wanted = [name for name in names if there.get(f"{place}/{name}") != sizes[name]]
        total = sum(sizes.values())
        done = total - sum(sizes[name] for name in wanted)
        told(done, total)
        with ThreadPoolExecutor(TOGETHER) as pool:
            sent = pool.map(lambda name: self.send(folder / name, f"{place}/{name}"), wanted)
            for name, _ in zip(wanted, sent, strict=True):
                done += sizes[name]
                told(done, total)
        self.send(folder / MANIFEST, f"{place}/{MANIFEST}")
        return place

    def manifest(self, place: str) -> Manifest | None:
        """Return what was published at a path, if it is whole."""
        from hieno.seal import is_intact

        raw = self.read_json(f"{place}/{MANIFEST}")
        if raw is None:
            return None
        fields = {name: raw[name] for name in raw if name in Manifest.__dataclass_fields__}
        found = Manifest(**fields, intact=is_intact(raw))
        return found if self._is_whole(place, found) else None

    def holds(self, place: str, manifest: Manifest) -> bool:
        """Tell whether exactly this was published at a path."""
        found = self.manifest(place)
        return found is not None and found.digest == manifest.digest

    def get_folder(self, place: str, target: Path, *, without: Collection[str] = ()) -> list[str]:
        """Fetch a published folder's files, all but those below the folders `without`.

        Returns the names of what was left there. Raises `BrokenArtifact` for a file that is not
        what was published.
        """
        raw = self.read_bytes(f"{place}/{MANIFEST}")
        target.mkdir(parents=True, exist_ok=True)
        (target / MANIFEST).write_bytes(raw or b"")
        manifest = read_manifest(target)
        if manifest is None:
            return []
        expected = {**manifest.files, **manifest.beside}
        left = [name for name in expected if name.startswith(tuple(f"{f}/" for f in without))]
        wanted = [name for name in expected if name not in left]
        with ThreadPoolExecutor(TOGETHER) as pool:
            list(pool.map(lambda name: self._fetch(f"{place}/{name}", target / name), wanted))
        for name in wanted:
            if digest_file(target / name) != expected[name]:
                raise _broken(self.url(f"{place}/{name}"))
        return left

    def get_file(self, place: str, target: Path) -> None:
        """Fetch one file."""
        self._fetch(place, target)

    def read_json(self, path: str) -> Any:
        """Return a JSON document, or None where there is none."""
        raw = self.read_bytes(path)
        return None if raw is None else json.loads(raw)

    def read_bytes(self, path: str) -> bytes | None:
        """Return a blob's content, or None where there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return bytes(self.container.download_blob(path).readall())
        except ResourceNotFoundError:
            return None

    def write_json(self, path: str, value: Any) -> None:
        """Write a JSON document, replacing an earlier one in one step."""
        text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        self.container.upload_blob(path, text.encode(), overwrite=True)

    def sizes(self, prefix: str) -> Mapping[str, int]:
        """Return the size of every blob whose path begins so."""
        return {blob.name: blob.size for blob in self._blobs(prefix)}

    def _blobs(self, prefix: str) -> Iterator[Any]:
        yield from self.container.list_blobs(name_starts_with=prefix)

    def _is_whole(self, place: str, manifest: Manifest) -> bool:
        there = self.sizes(f"{place}/")
        return all(f"{place}/{name}" in there for name in manifest.files)

    def send(self, path: Path, place: str) -> None:
        """Send a file, replacing an earlier one."""
        with path.open("rb") as content:
            self.container.upload_blob(place, content, overwrite=True, max_concurrency=TOGETHER)

    def _fetch(self, place: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        with partial.open("wb") as file:
            self.container.download_blob(place, max_concurrency=TOGETHER).readinto(file)
        partial.replace(target)


def _broken(url: str) -> Exception:
    from hieno.errors import BrokenArtifact

    return BrokenArtifact(
        f"{url} is not what was published (digest differs)",
        hint="delete that folder in the storage account; the same command makes it again",
    )
