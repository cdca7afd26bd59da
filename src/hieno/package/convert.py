"""Convert a model folder for a serving engine, in a side environment with its own pins."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hieno import environments
from hieno.environments.gpu import gpu_of_vllm
from hieno.errors import HienoError
from hieno.files import changed_files, published, read_manifest
from hieno.package.layout import ENGINES, engine_folder, weights_folder
from hieno.processes import python_module, run_to_end

DIRECT = ("fp32", "int8")  # what the converter writes at once; the rest is made of its fp32


def choose_engine(wanted: str) -> str:
    """Return the engine that will serve a model on this machine (or `wanted`)."""
    if wanted != "auto":
        return wanted
    if gpu_of_vllm():
        return "vllm"
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return "openvino" if x86 or sys.platform == "darwin" else "transformers"


def is_ready(root: Path, *, engine: str, weights: str) -> bool:
    """Tell whether an engine has all that it needs to serve a cached base model."""
    if engine == "vllm":
        return environments.present("vllm") is not None
    return engine == "transformers" or engine_folder(root, engine, weights) is not None


def convert_base(root: Path, *, engine: str, weights: str, say: Callable[[str], None]) -> None:
    """Make a cached base model ready for an engine, once; later calls find it so."""
    if engine == "vllm":
        environments.ensure("vllm", say=say)
    if is_ready(root, engine=engine, weights=weights):
        return
    from filelock import FileLock

    with FileLock(root.with_name(f"{root.name}.lock")):  # the cache is shared by all projects
        if is_ready(root, engine=engine, weights=weights):
            return
        say(f"converting the base model for {engine} (once)")
        target = root / ENGINES / f"{engine}-{weights}"
        with published(target, kind="engine", key=f"{engine}-{weights}") as (folder, facts):
            if weights != "fp32" and (whole := engine_folder(root, engine, "fp32")):
                compress(whole, folder, weights=weights, say=say)
            else:
                convert(weights_folder(root), folder, engine=engine, weights=weights, say=say)
            manifest = read_manifest(root)
            facts["model"] = manifest.digest if manifest else None


def convert(
    model_folder: Path,
    target: Path,
    *,
    engine: str,
    weights: str,
    say: Callable[[str], None],
    base: Path | None = None,
) -> None:
    """Write a model folder in an engine's own format into an existing, empty folder.

    `base` is the root of what it was tuned from: if that is converted, its graph is used again.
    """
    if engine != "openvino":
        raise HienoError(
            f"there is nothing to convert for {engine}", hint="set package.engine to auto"
        )
    if weights == "fp32" and base and _laid_into(base, model_folder, target, engine):
        return
    if weights in DIRECT:
        _run(_export(model_folder, target, weights), target, say)
        return
    whole = target.with_name(f"{target.name}.whole")
    try:
        _run(_export(model_folder, whole, "fp32"), whole, say)
        compress(whole, target, weights=weights, say=say)
    finally:
        shutil.rmtree(whole, ignore_errors=True)


def _laid_into(base: Path, model_folder: Path, target: Path, engine: str) -> bool:
    """Try to lay the weights into the base's own graph; tell whether that was possible."""
    converted = engine_folder(base, engine, "fp32")
    if converted is None or not _is_of(base, converted):
        return False
    folders = (weights_folder(base), converted, model_folder, target)
    command = python_module("hieno.package.transplant", *map(str, folders))
    done = run_to_end(command, environment=os.environ)
    if done.returncode == 0:
        return True
    for path in target.iterdir():
        path.unlink()
    return False


def _is_of(base: Path, converted: Path) -> bool:
    """Tell whether a converted folder is whole, and made of the base as it is."""
    manifest, model = read_manifest(converted), read_manifest(base)
    if manifest is None or model is None or manifest.facts.get("model") != model.digest:
        return False
    return not any(changed_files(converted, manifest))


def compress(source: Path, target: Path, *, weights: str, say: Callable[[str], None]) -> None:
    """Write a folder converted with fp32 weights once more, with smaller ones."""
    target.mkdir(exist_ok=True)
    script = Path(__file__).with_name("compress.py")
    _run((str(script), str(source), str(target), weights), target, say)


def _export(model_folder: Path, target: Path, weights: str) -> Sequence[str]:
    return (
        *("optimum-cli", "export", "openvino", "--model", str(model_folder)),
        *("--task", "text-generation-with-past", "--weight-format", weights),
        str(target),
    )


def _run(script: Sequence[str], target: Path, say: Callable[[str], None]) -> None:
    """Run a script, or one of its programs, in the side environment; it has to fill `target`."""
    python = environments.ensure("openvino", say=say)
    # isolated: settings for this process's Python are not meant for that one
    command = [str(python), "-I", "-X", "utf8", str(python.parent / script[0]), *script[1:]]
    quiet = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    done = run_to_end(command, environment=quiet)
    if done.returncode or not (target / "openvino_model.xml").is_file():
        last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        raise HienoError(
            "the conversion for OpenVINO failed: " + " / ".join(last),
            hint="set package.engine to transformers to serve without conversion",
        )
