"""A loopback stand-in for a hub of datasets, spoken to by the real `datasets` library.

It serves one folder of Parquet files as one dataset at one commit: its info, tree, paths and files
with ranges. It does not prove how the real hub spells its errors beyond the headers used here, nor
its Xet storage, nor its dataset viewer, which it says it does not have.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from loopback import Speaking, served

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


@dataclass
class Hub:
    """The hub, with one dataset `name` in `folder`."""

    folder: Path
    name: str = "HuggingFaceH4/ultrachat_200k"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> Hub:
        self._serving = served(type("Handler", (_Handler,), {"hub": self}))
        self.address = self._serving.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)


class _Handler(Speaking):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self._answer(body)

    def _answer(self, body: str = "") -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path))
        if f"/{self.hub.name}" not in path:
            return self._refuse(404, "RepoNotFound")
        if found := re.search(r"/resolve/[^/]+/(.+)$", path):
            return self._file(self.hub.folder / found[1])
        if "/paths-info/" in path:
            wanted = self._wanted(body)
            return self._json([entry for entry in self._entries() if entry["path"] in wanted])
        if found := re.search(r"/tree/[^/]+/?(.*)$", path):
            return self._json([e for e in self._entries() if e["path"].startswith(found[1])])
        siblings = [{"rfilename": e["path"]} for e in self._entries() if e["type"] == "file"]
        self._json({"id": self.hub.name, "sha": COMMIT, "siblings": siblings, "private": False})

    def _wanted(self, body: str) -> list[str]:
        if body.startswith("{"):
            return list(json.loads(body).get("paths", []))
        return parse_qs(body).get("paths", [])

    def _entries(self) -> list[dict[str, Any]]:
        entries = []
        for path in sorted(self.hub.folder.rglob("*")):
            kind = "directory" if path.is_dir() else "file"
            size = 0 if path.is_dir() else path.stat().st_size
            name = path.relative_to(self.hub.folder).as_posix()
            oid = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
            entries.append({"type": kind, "path": name, "size": size, "oid": oid})
        return entries

    def _file(self, path: Path) -> None:
        if not path.is_file():
            return self._refuse(404, "EntryNotFound")
        content = path.read_bytes()
        start, end = 0, len(content) - 1
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, end = int(found[1]), int(found[2] or end)
        part = content[start : end + 1]
        headers = {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Accept-Ranges": "bytes",
        }
        if len(part) != len(content):
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        self.send(206 if len(part) != len(content) else 200, part, headers)

    def _json(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self.send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})
