"""Images of environments, for machines without Docker.

An image stands for the interpreter that runs the emulator: its packages are the image's. With
`Settings.builds_images` the pins that a Dockerfile installs are really installed (`packages.py`).
What is made of an image is an environment of its own over that interpreter, so a `pip install` in a
job touches nobody else; it starts from empty variables and an empty home, as a container does. A
build reads the Dockerfile of a context and its wheels. Not proven here: what else RUN does, and
conda.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource
from emulator.ml import blobs, dockerfile, packages
from emulator.ml.dockerfile import CannotBuild

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_INFERENCE = re.compile(r"mcr\.microsoft\.com/azureml/.*inference")  # Azure's, with its server
_SERVER = Path(__file__).with_name("inference-server.txt")  # what stands for them
# what a process needs of the machine to run at all, and how many threads it may use
_KEPT = ("LANG", "LC_ALL", "SYSTEMROOT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Image:
    """What containers are made of."""

    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()  # of its own, where the image is one that serves
    wheels: tuple[Path, ...] = ()
    python: Path = Path(sys.executable)  # whose packages it has
    venvs: tuple[str, ...] = ()  # paths of environments beside it, which have the emulator's


def build(cloud: Cloud, environment: Resource) -> Image:
    """Return the image of an environment's version. Raises `CannotBuild` with what its log says."""
    if fault := cloud.faults.take("build-image", environment.id.text):
        raise CannotBuild(
            fault.details.get("message", "pip failed: no matching distribution found")
        )
    known: Image | None = environment.private.get("image")
    if known is None:
        known = environment.private["image"] = _build(cloud, environment)
    return known


def interpreter(image: Image, folder: Path) -> Path:
    """Make what stands for a container's file system; return its Python."""
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    own = _packages(folder)
    itself = image.python == Path(sys.executable)
    below = sysconfig.get_path("purelib") if itself else _packages(image.python.parent.parent)
    (own / "image.pth").write_text(f"{below}\n", encoding="utf-8")
    for wheel in image.wheels:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(own)
    scripts = "Scripts" if os.name == "nt" else "bin"
    return folder / scripts / ("python.exe" if os.name == "nt" else "python")


def variables(cloud: Cloud, image: Image, python: Path, home: Path) -> dict[str, str]:
    """Return a new container's variables: the image's and the network's, nothing of the user's."""
    home.mkdir(parents=True, exist_ok=True)
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    own = {name: _inside(value, home.parent) for name, value in image.environment.items()}
    network = {
        name: value
        for name, value in cloud.environment().items()
        if not name.startswith(("AZURE_", "EMULATOR_"))
    }
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    machine = os.environ.get("PATH", os.defpath)
    return {
        **kept,
        **network,
        **cloud.settings.image_variables,
        **own,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PATH": f"{python.parent}{os.pathsep}{machine}",
        "PYTHONUNBUFFERED": "1",
    }


def _build(cloud: Cloud, environment: Resource) -> Image:
    properties = environment.properties
    if text := properties.get("condaFile"):
        _check_conda(text)
    context = properties.get("build")
    if not context:
        if not properties.get("image"):
            raise CannotBuild("the environment names neither an image nor a build context")
        return Image()
    workspace = ResourceId(environment.id.text.rsplit("/", 4)[0])
    folder = cloud.folder / "images" / f"{environment.id.text.split('/')[-3]}-{environment.id.name}"
    try:
        blobs.resolve(cloud, workspace, context["contextUri"]).download(folder)
    except FileNotFoundError as error:
        raise CannotBuild(f"the build context {error} is empty") from None
    stage = dockerfile.read(folder, context.get("dockerfilePath") or "Dockerfile")
    wheels = tuple(sorted(folder.rglob("*.whl")))
    command = (*stage.entrypoint, *stage.command)
    if _INFERENCE.match(stage.base):
        # it serves by itself, and what is installed beside it is none of its business
        python = Path(sys.executable)
        if cloud.settings.builds_images:
            python = packages.ensure([_SERVER], cloud.ml.machine)
        return Image(stage.environment, command, wheels, python, tuple(stage.venvs))
    if cloud.settings.builds_images and stage.requirements:
        python = packages.ensure(stage.requirements, cloud.ml.machine)
        return Image(stage.environment, command, wheels, python)
    return Image(stage.environment, command, wheels)


def _packages(folder: Path) -> Path:
    """Return where an environment's packages are."""
    return Path(
        sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    )


def _inside(value: str, folder: Path) -> str:
    """Put a path of the image's below the folder that stands for its file system."""
    is_path = value.startswith("/") and os.pathsep not in value
    return str(folder / value.lstrip("/")) if is_path else value


def _check_conda(text: str) -> None:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CannotBuild(f"the conda file is no YAML: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("dependencies"), list):
        raise CannotBuild("the conda file has no list of dependencies")
