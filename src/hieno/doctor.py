"""Look at this machine and this project, and say what to do where something is missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal

from hieno import machine
from hieno.config import FILE_NAME
from hieno.data.sources import files, hub_name
from hieno.errors import HienoError, MissingInput
from hieno.project import find, home, open_project

GIGABYTE = 10**9

# The demo model is trained within 4.5 GB; a 3.8B model in bfloat16 has 7.6 GB of weights alone.
DEMO_MEMORY = 6 * GIGABYTE
PHI_MEMORY = 16 * GIGABYTE
# The demo with its side environments takes 6 GB; below one, not even a checkpoint fits.
ROOMY_DISK = 10 * GIGABYTE
LEAST_DISK = 1 * GIGABYTE


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to type where it is not well."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def check(folder: Path | None = None) -> list[Finding]:
    """Look at everything, without the network; only a speed not known yet needs torch.

    `folder` is the project's; without it the nearest one around the current folder is looked at.
    """
    place = folder or Path.cwd()
    looks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", _python),
        ("packages", _packages),
        ("uv", _uv),
        ("cores", _cores),
        ("memory", _memory),
        ("gpu", _gpu),
        ("speed", _speed),
        ("home", _home),
        ("disk", lambda: _disk(place)),
        ("environments", _environments),
        ("models", _models),
        ("project", lambda: _project(folder)),
    ]
    return [_safely(name, look) for name, look in looks]


def _safely(name: str, look: Callable[[], Finding]) -> Finding:
    """Report a look that itself fails as a finding, so that the others are still shown."""
    try:
        return look()
    except HienoError as error:
        return Finding(name, "fail", error.message, error.hint)
    except OSError as error:
        return Finding(name, "fail", str(error), "see to the file or folder that it names")


def _python() -> Finding:
    from packaging.specifiers import SpecifierSet

    found = platform.python_version()
    try:
        wanted = metadata("hieno")["Requires-Python"]
    except PackageNotFoundError:
        return Finding("python", "warn", f"{found}; hieno is not installed", "pip install hieno")
    if SpecifierSet(wanted).contains(found, prereleases=True):
        return Finding("python", "ok", f"{found} on {platform.system()} {platform.machine()}")
    remedy = f"make an environment with Python {wanted}: `uv venv --python 3.12`"
    return Finding("python", "fail", f"{found}, but hieno needs {wanted}", remedy)


def _packages() -> Finding:
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in requires("hieno") or []]
    except PackageNotFoundError:
        return Finding("packages", "warn", "hieno is not installed", "pip install hieno")
    wanted = [need for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    wrong = []
    for need in wanted:
        try:
            found = version(need.name)
        except PackageNotFoundError:
            wrong.append((need, f"{need.name} is missing"))
            continue
        if not need.specifier.contains(found, prereleases=True):
            wrong.append((need, f"{need.name} {found} is not {need.specifier}"))
    if wrong:
        needs = " ".join(f"'{need.name}{need.specifier}'" for need, _ in wrong)
        return Finding(
            "packages", "fail", "; ".join(text for _, text in wrong), f"uv pip install {needs}"
        )
    shown = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl"))
    return Finding("packages", "ok", f"{len(wanted)} as required ({shown})")


def _uv() -> Finding:
    import uv

    try:
        return Finding("uv", "ok", uv.find_uv_bin())
    except FileNotFoundError:
        remedy = "uv pip install --reinstall uv"
        return Finding("uv", "fail", "the program is missing; side environments need it", remedy)


def _cores() -> Finding:
    found, present = machine.cores(), os.cpu_count() or 1
    text = f"{found} of {present}, {machine.cpu_model()}"
    if found < 2:
        return Finding("cores", "warn", text, "expect twice the time of a machine with two")
    return Finding("cores", "ok", text)


def _memory() -> Finding:
    found = machine.memory()
    text = f"{_gigabytes(found.available)} of {_gigabytes(found.total)} free"
    if found.available < DEMO_MEMORY:
        return Finding("memory", "warn", text, "close something: the demo needs 6 GB")
    if found.total < PHI_MEMORY:
        return Finding("memory", "ok", f"{text}; enough for the demo, not for a 3.8B model")
    return Finding("memory", "ok", text)


def _gpu() -> Finding:
    found = machine.gpus()
    names = ", ".join(f"{gpu.name} ({_gigabytes(gpu.memory)})" for gpu in found)
    return Finding("gpu", "ok", names or "none; the processor does the work")


def _speed() -> Finding:
    from hieno.demo import seconds

    found = machine.speed()
    rates = f"bfloat16 {found.bfloat16 / 1e9:.0f}, float32 {found.float32 / 1e9:.0f} GFLOP/s"
    minutes = seconds() / 60
    text = f"{rates}; trains in {found.dtype}; the demo takes about {minutes:.0f} minutes"
    return Finding("speed", "ok", text)


def _home() -> Finding:
    folder = home()
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        remedy = "name a folder of yours: export HIENO_HOME=~/hieno"
        return Finding("home", "fail", f"{folder} cannot be written", remedy)
    return Finding("home", "ok", str(folder))


def _disk(place: Path) -> Finding:
    free = {"home": machine.disk_free(home()), "project": machine.disk_free(place)}
    text = ", ".join(f"{_gigabytes(size)} free for the {name}" for name, size in free.items())
    least = min(free.values())
    if least < LEAST_DISK:
        return Finding("disk", "fail", text, "free some space, or move the home with HIENO_HOME")
    if least < ROOMY_DISK:
        return Finding("disk", "warn", text, "the demo needs 6 GB, a 3.8B model 40 GB")
    return Finding("disk", "ok", text)


def _environments() -> Finding:
    from hieno import environments

    made = [name for name in environments.DEFINITIONS if environments.present(name)]
    missing = [name for name in environments.DEFINITIONS if name not in made]
    text = ", ".join(made) if made else "none made yet"
    if missing:
        text += f"; {' and '.join(missing)} will be made when needed"
    return Finding("environments", "ok", text)


def _models() -> Finding:
    folder = home() / "models"
    found = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    return Finding("models", "ok", ", ".join(found) or "none yet; `hieno models pull demo`")


def _project(folder: Path | None) -> Finding:
    if folder is None:
        try:
            folder = find()
        except MissingInput:
            return Finding("project", "ok", "none here; `hieno init DIR` makes one")
    elif not (folder / FILE_NAME).is_file():
        remedy = f"`hieno init {folder}` makes a project"
        return Finding("project", "fail", f"there is no {FILE_NAME} in {folder}", remedy)
    project = open_project(folder)
    data = project.config.data
    source = project.path(data.source)
    try:
        if not hub_name(data.source, split=data.split, root=project.root):
            files(source, key="data.source")
    except MissingInput:
        text = f"{project.root}: there are no chats at {source}"
        return Finding("project", "fail", text, "put them there, or set data.source in hieno.yaml")
    return Finding("project", "ok", f"{project.root} ({project.config.model})")


def _gigabytes(size: int) -> str:
    return f"{size / GIGABYTE:.1f} GB"
