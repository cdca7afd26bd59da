"""Projects with registered versions that cost nothing, and both targets to serve them from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from emulator import azurite
from emulator.cloud import Cloud
from emulator.contract import deviations
from emulator.ledger import Entry
from emulator.server import running
from emulator.settings import Settings
from hieno.files import Manifest, published, read_manifest
from hieno.package import layout
from hieno.project import Project, open_project
from hieno.registry import versions
from hieno.registry.versions import ModelVersion
from hieno.targets.azure import images, wheel
from hieno.targets.local import LocalTarget
from stand_in import __file__ as STAND_IN

_AROUND = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")  # would lead past the emulator


class Told:
    """A reporter that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, name: str) -> None: ...

    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)


@contextmanager
def emulated(folder: Path, settings: Settings | None = None) -> Iterator[Cloud]:
    """Run an Azure that this process and all that it starts believe in; skip without Azurite.

    Afterwards every call must have been as Microsoft's types have it, and none have gone elsewhere.
    """
    try:
        azurite.script()
    except azurite.NoAzurite as error:
        pytest.skip(str(error))
    with running(folder, settings or Settings()) as cloud, pytest.MonkeyPatch.context() as patch:
        for name in _AROUND:
            patch.delenv(name, raising=False)
        for name, value in cloud.environment().items():
            patch.setenv(name, value)
        yield cloud
        assert [str(one) for one in deviations(cloud)] == []
        assert cloud.trace.refused == []


@contextmanager
def stand_ins(*flags: str) -> Iterator[None]:
    """Let both targets serve with the stand-in for a container; Azure's gets `flags`."""
    command = LocalTarget._command

    def local(self: LocalTarget, *given: object, **named: object) -> tuple[str, ...]:
        words = command(self, *given, **named)  # type: ignore[arg-type]
        return (sys.executable, STAND_IN, *words[words.index("hieno.serve") + 1 :])

    def written(folder: Path, *_: object, **__: object) -> None:
        words = ["python", STAND_IN, "--port", str(images.PORT), *flags]
        text = ", ".join(f'"{word}"' for word in words)
        (folder / "Dockerfile").write_text(f"FROM python\nENTRYPOINT [{text}]\n", encoding="utf-8")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalTarget, "_command", local)
        patch.setattr(images, "_write", written)
        patch.setattr(wheel, "write", lambda folder: folder)
        yield


def billed_in_turn(cloud: Cloud, begin: int = 0) -> list[Entry]:
    """Return what was billed for deployments, from an entry on: the last still is, and no two
    ever were at a time."""
    entries = cloud.ledger.entries()[begin:]
    billed = [one for one in entries if "/deployments/" in one.resource]
    for earlier, later in pairwise(billed):
        assert "" < earlier.until <= later.since
    assert not billed[-1].until
    return billed


def make_project(root: Path, target: str, name: str = "books") -> Project:
    """Write a project down and open it."""
    (root / "data").mkdir(parents=True)
    (root / "hieno.yaml").write_text(
        f"name: {name}\nmodel: demo\ntarget: {target}\n"
        "azure:\n  preset: cpu\n  cluster:\n    size: Standard_E4s_v3\n"
        f"endpoint:\n  name: {name}\n  steps: [50, 100]\n  step_seconds: 1\n",
        encoding="utf-8",
    )
    return open_project(root)


def register(project: Project, number: int) -> ModelVersion:
    """Register a package of a few bytes under a number, as champion."""
    while (known := len(versions.versions(project.registry))) < number:
        _add(project, known + 1)
    versions.set_alias(project.registry, "champion", number)
    return versions.find(project.registry, str(number))


def make_base(root: Path) -> Path:
    """Make a model folder that nobody will read."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.json").write_text("{}", encoding="utf-8")
    return root


def make_package(folder: Path, key: str, number: int) -> Manifest:
    """Publish a package of a few bytes, where it is not there yet."""
    if not folder.is_dir():
        with published(folder, kind="package", key=key) as (partial, facts):
            make_base(partial / layout.MODEL)
            (partial / "README.md").write_text(f"# version {number}\n", encoding="utf-8")
            facts["engine"] = "transformers"
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest


def _add(project: Project, number: int) -> ModelVersion:
    key = f"{number:012}".ljust(64, "0")
    folder = project.packages / key[:12]
    manifest = make_package(folder, key, number)
    digest = {"digest": f"{number}" * 8}
    lineage = {
        "package": {"key": key, "digest": manifest.digest},
        **{role: digest for role in ("run", "dataset", "base", "evaluation")},
        "gate": {"passed": True, "reasons": [], "waiver": None},
    }
    return versions.add(
        project.registry,
        name=project.config.name,
        package=folder,
        digest=manifest.digest,
        lineage=lineage,
    )
