"""The images of jobs and deployments: built by Azure from pinned packages, once for each."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from hieno.config.azure import OnlineEndpoint
from hieno.files import digest_files, tree_digests
from hieno.targets.azure import wheel
from hieno.targets.azure.client import Workspace
from hieno.targets.azure.failures import explained

PORT = 5001
PINS = {"train": "train", "package": "serve", "evaluate": "serve"}  # of a stage's job
CONTAINER, SCRIPT = "hieno-container", "hieno-script"
CPU_ONLY = "ENV UV_TORCH_BACKEND=cpu"
ROUTES = {
    "liveness_route": {"port": PORT, "path": "/health"},
    "readiness_route": {"port": PORT, "path": "/health"},
    "scoring_route": {"port": PORT, "path": "/score"},
}


def has_gpu(size: str) -> bool:
    """Tell whether a machine has a GPU: those of Azure's N series have."""
    return size.lower().startswith("standard_n")


def of_job(workspace: Workspace, stage: str, size: str, say: Callable[[str], None]) -> str:
    """Return the environment of a stage's job, made first where it is not there."""
    pins = PINS[stage]
    with tempfile.TemporaryDirectory(prefix="hieno-image-") as name:
        folder = Path(name)
        _write(folder, pins, ["packages"], gpu=has_gpu(size))
        return _registered(workspace, f"hieno-{pins}", folder, say)


def of_deployment(
    workspace: Workspace, endpoint: OnlineEndpoint, say: Callable[[str], None]
) -> str:
    """Return the environment of a deployment, made first where it is not there."""
    scripted = endpoint.serving == "script"
    with _container(endpoint) as folder:
        name, routes = (SCRIPT, None) if scripted else (CONTAINER, ROUTES)
        return _registered(workspace, name, folder, say, routes=routes)


def name_of_deployment(endpoint: OnlineEndpoint) -> str:
    """Return what the environment of a deployment is called for the code that runs here."""
    with _container(endpoint) as folder:
        return f"{SCRIPT if endpoint.serving == 'script' else CONTAINER}:{_version(folder)}"


@contextmanager
def _container(endpoint: OnlineEndpoint) -> Iterator[Path]:
    parts = ["script"] if endpoint.serving == "script" else ["packages", "serve"]
    with tempfile.TemporaryDirectory(prefix="hieno-image-") as name:
        folder = Path(name)
        _write(folder, "serve", parts, gpu=has_gpu(endpoint.size))
        wheel.write(folder)
        yield folder


def _version(folder: Path) -> str:
    return digest_files(tree_digests(folder))[:12]


def _write(folder: Path, pins: str, parts: list[str], *, gpu: bool) -> None:
    with resources.as_file(resources.files(__package__) / "images") as source:
        shutil.copyfile(source / f"{pins}.txt", folder / "requirements.txt")
        text = "".join((source / part / "Dockerfile").read_text("utf-8") for part in parts)
    backend = "# torch as it is published: for CUDA" if gpu else CPU_ONLY
    (folder / "Dockerfile").write_text(text.replace("#BACKEND#", backend), encoding="utf-8")


def _registered(
    workspace: Workspace,
    name: str,
    folder: Path,
    say: Callable[[str], None],
    routes: dict[str, dict[str, object]] | None = None,
) -> str:
    from azure.ai.ml.entities import BuildContext, Environment
    from azure.core.exceptions import ResourceNotFoundError

    version = _version(folder)
    with explained(f"registering the image {name}"):
        try:
            workspace.ml.environments.get(name, version)
        except ResourceNotFoundError:
            say(f"the image {name}:{version} is new: Azure builds it, which takes minutes")
            place = f"hieno/images/{name}-{version}"
            for path in sorted(folder.iterdir()):
                workspace.store.send(path, f"{place}/{path.name}")
            workspace.ml.environments.create_or_update(
                Environment(
                    name=name,
                    version=version,
                    build=BuildContext(
                        path=f"{workspace.store.url(place)}/", dockerfile_path="Dockerfile"
                    ),
                    inference_config=routes,
                    description="Made by hieno from pinned packages",
                )
            )
    return f"{name}:{version}"
