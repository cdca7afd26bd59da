"""The scoring script as Azure keeps it: a version of code, sent once for each content."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from hieno.files import digest_file
from hieno.targets.azure.arm import Arm
from hieno.targets.azure.client import Workspace
from hieno.targets.azure.failures import explained
from hieno.targets.azure.store import ROOT

NAME = "score.py"
ASSET = "hieno-score"
API = "2025-12-01"


def name_of(workspace: Workspace) -> str:
    """Return the id that the script of the code that runs here has."""
    with resources.as_file(_source()) as path:
        return _id(workspace, path)


def publish(workspace: Workspace) -> str:
    """Send the script where it is not there; return its id.

    It goes up with the caller's own sign-in: Azure's client would want a key of the storage.
    """
    with resources.as_file(_source()) as path, explained("sending the scoring script"):
        asset = _id(workspace, path)
        with Arm(workspace.account.credential, workspace.account.subscription) as arm:
            if arm.find(asset, API) is None:
                place = f"{ROOT}/code/{digest_file(path)}"
                workspace.store.send(path, f"{place}/{NAME}")
                body = {"codeUri": workspace.store.url(place), "description": "Made by hieno"}
                arm.put(asset, API, {"properties": body})
    return asset


def variables(max_requests: int, start_seconds: int) -> Mapping[str, str]:
    """Return what Azure's server is told: as many answers at a time as the container gives."""
    return {
        "WORKER_COUNT": "1",
        "WORKER_TIMEOUT": str(start_seconds),
        "GUNICORN_CMD_ARGS": f"--threads={max_requests}",
    }


def _source() -> resources.abc.Traversable:
    return resources.files(__package__) / "images" / "script" / NAME


def _id(workspace: Workspace, path: Path) -> str:
    return f"{workspace.id}/codes/{ASSET}/versions/{digest_file(path)[:12]}"
