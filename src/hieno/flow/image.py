"""The context of a flow's image: the flow, a server on promptflow-core alone, pinned packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from hieno import environments
from hieno.data.privacy import SECRET, scan
from hieno.errors import BadData, UsageError
from hieno.files import published, read_manifest, tree_digests
from hieno.flow.frameworks import PROMPTFLOW, entry

CORE = "promptflow-core"
_PARTS = ("Dockerfile", "serve.py", ".dockerignore")
_KEPT = {".py", ".yaml", ".yml", ".jinja2", ".json", ".txt", ".toml", ".md"}
# What the flow asks for without hieno; the image has promptflow-core in its place.
_OURS = re.compile(r"^(promptflow(-\w+)?|uvicorn|httpx|filelock)\b", re.IGNORECASE)
_LARGEST = 1_000_000  # bytes of one file; a flow is code


@dataclass(frozen=True)
class Image:
    """A folder that `docker build` takes, and what is in it."""

    folder: Path
    files: tuple[str, ...]
    packages: int


def build(folder: Path, output: Path) -> Image:
    """Write the context of the image of a prompt flow into `output`, which is replaced.

    Hidden files, data and whatever is not code stay out. Raises `BadData` where a file holds what
    looks like a key.
    """
    framework, _ = entry(folder)
    if framework is not PROMPTFLOW:
        raise UsageError(
            f"{folder} is an agent project, which is not built",
            hint="run its host.py with its requirements.txt; or build a prompt flow: --path flow",
        )
    if output.exists() and not (read_manifest(output) or not any(output.iterdir())):
        raise UsageError(
            f"{output} holds something else", hint="name an empty folder with --output"
        )
    pins = environments.pins(CORE)
    with published(output, kind="flow-image", key=CORE) as (partial, _):
        for name in _PARTS:
            template = resources.files("hieno.flow") / "template" / "image" / name
            (partial / name).write_bytes(template.read_bytes())
        extra = [line for line in _requirements(folder) if not _OURS.match(line)]
        lines = [*pins.splitlines(), *(["# the flow's own", *extra] if extra else [])]
        (partial / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for path in _code(folder):
            _refuse_keys(path)
            copy = partial / "flow" / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        packages = len(pins.splitlines()) + len(extra)
    return Image(output, tuple(tree_digests(output)), packages)


def _requirements(folder: Path) -> Iterator[str]:
    path = folder / "requirements.txt"
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.strip()


def _code(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
        if path.is_file() and not hidden and inside.parts[0] != "evaluation" and _is_code(path):
            yield path


def _is_code(path: Path) -> bool:
    return path.suffix in _KEPT and path.stat().st_size <= _LARGEST


def _refuse_keys(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    finds = [find for find in scan(text) if find.family == SECRET]
    if finds:
        line = text.count("\n", 0, finds[0].start) + 1
        raise BadData(
            f"{path}:{line}: this looks like a key ({finds[0].kind}), and an image keeps it",
            hint="read it from the environment, and rotate it if anyone has seen it",
        )
