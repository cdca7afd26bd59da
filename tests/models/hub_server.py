"""A loopback stand-in for a model hub, spoken to by the real `huggingface_hub`.

It serves the files of one folder as one model at one commit: model info, the tree, and files with
ranges. It can cut connections and ask for a token. It does not prove how the real hub spells its
errors beyond the headers used here, nor its Xet storage.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loopback import Speaking, served

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The hub: `cuts` is how many downloads of weights end early, `token` who may read."""

    folder: Path
    model: str = "acme/tiny-phi"
    cuts: int = 0
    token: str | None = None
    status: int | None = None
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def __enter__(self) -> Hub:
        self._serving = served(type("Handler", (_Handler,), {"hub": self}))
        self.address = self._serving.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)

    def ranges(self) -> list[str]:
        return [wanted for _, _, wanted in self.asked if wanted]


class _Handler(Speaking):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append((self.command, self.path, self.headers.get("Range")))
        if self.hub.status:
            return self._refuse(self.hub.status, "", "a moment, please")
        if f"/{self.hub.model}" not in path:
            return self._refuse(404, "RepoNotFound", "Repository not found")
        signed = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        if self.hub.token and not signed and "/resolve/" in path:
            return self._refuse(401, "GatedRepo", "Access to this model is restricted")
        if found := re.search(r"/resolve/(\w+)/([\w.-]+)$", path):
            return self._file(self.hub.folder / found[2], body)
        if "/tree/" in path:
            about = {"type": "file", "oid": "0" * 40}
            return self._json([about | entry for entry in self._files()])
        revision = re.search(r"/revision/(\w+)$", path)
        if revision and revision[1] not in (COMMIT, "main"):
            return self._refuse(404, "RevisionNotFound", "Revision not found")
        names = [{"rfilename": entry["path"], "size": entry["size"]} for entry in self._files()]
        card = {"license": "mit"}
        self._json({"id": self.hub.model, "sha": COMMIT, "siblings": names, "cardData": card})

    def _files(self) -> list[dict[str, Any]]:
        paths = sorted(self.hub.folder.iterdir())
        return [{"path": path.name, "size": path.stat().st_size} for path in paths]

    def _file(self, path: Path, body: bool) -> None:
        if not path.is_file():
            return self._refuse(404, "EntryNotFound", "Entry not found")
        content = path.read_bytes()
        tag = hashlib.sha256(content).hexdigest()
        start = 0
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(found[1])
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{tag}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return None
        if path.suffix == ".safetensors" and self.hub.cuts:
            self.hub.cuts -= 1
            # The client keeps whole pieces of 10 MB, so what is sent must be longer than one.
            self.wfile.write(content[start : start + (len(content) - start) * 3 // 4])
            self.close_connection = True
            return None
        self.wfile.write(content[start:])
        return None

    def _json(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.send(status, json.dumps({"error": message}).encode(), headers)
