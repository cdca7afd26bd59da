"""The containers of deployments: real processes that serve a model on a loopback port.

A container has a network and a file system of its own; a process here has neither. So the port that
the environment names is replaced by a free one wherever the command has it, `0.0.0.0` by loopback,
and the model lies under the run's folder with the path that it has on Azure.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: JSON

import httpx

from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.arm.resources import Resource
from emulator.ml import blobs, groups, images
from emulator.ml.durations import seconds
from hieno.ports import free_port

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_MODELS = "var/azureml-app/azureml-models"
_CODE = "var/azureml-app"
_SERVER = "azureml_inference_server_http"
_GUIDE = "https://aka.ms/oe-tsg#error-resourcenotready"
_PAUSE = 0.5  # seconds before a container that ended is started again
_LOOK = 0.1
_GRACE = 5.0  # seconds to end in before it is killed


@dataclass
class Container:
    """One running container, started again when it ends."""

    command: list[str]
    variables: Mapping[str, str]
    folder: Path
    port: int
    paths: Mapping[str, str]  # liveness, readiness and scoring
    restarts: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _closed: threading.Event = field(default_factory=threading.Event)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "container.log"

    def start(self) -> None:
        """Start its process."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=dict(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def code(self) -> int | None:
        """Return the exit code of its process, or None while it runs."""
        return groups.code_of(self._process) if self._process else None

    def is_ready(self) -> bool:
        """Ask whether it may be given requests."""
        with suppress(httpx.HTTPError), httpx.Client(trust_env=False, timeout=2.0) as client:
            address = f"http://127.0.0.1:{self.port}{self.paths['readiness']}"
            return client.get(address).status_code == 200
        return False

    def keep(self) -> None:
        """Start it again whenever it ends, until it is closed."""

        def watch() -> None:
            while not self._closed.wait(_PAUSE):
                self.revive()

        threading.Thread(target=watch, daemon=True).start()

    def revive(self) -> None:
        """Start it again if it has ended by itself; one that was closed stays so."""
        with self._changing:
            if self.code() is not None and not self._closed.is_set():
                self._end()
                self.restarts += 1
                self.start()

    def close(self) -> None:
        """End it."""
        with self._changing:  # or it would be started again while it ends
            self._closed.set()
            self._end()

    def _end(self) -> None:
        """Ask what runs to end, wait a moment, kill what is left, and only then wait for it."""
        if self._process is None:
            return
        groups.send(self._process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        while self.code() is None and time.monotonic() < deadline:
            time.sleep(_LOOK / 5)
        groups.send(self._process, signal.SIGKILL)
        self._process.wait()


def create(cloud: Cloud, deployment: Resource) -> Container:
    """Lay out the container of a deployment: image, model, code. Raises `ArmError`."""
    properties, workspace = deployment.properties, deployment.id.parent.parent
    environment = cloud.resources.require(properties["environmentId"])
    image = images.build(cloud, environment)
    name = f"{deployment.id.parent.name}-{deployment.id.name}-{time.monotonic_ns()}"
    folder = cloud.folder / "deployments" / name
    python = images.interpreter(image, folder / "image")
    for place in image.venvs:
        images.interpreter(images.Image(wheels=image.wheels), folder / place.lstrip("/"))
    port = free_port()
    routes = environment.properties.get("inferenceConfig") or {}
    variables = {
        **images.variables(cloud, image, python, folder / "home"),
        **_model(cloud, workspace, properties, folder),
        **(properties.get("environmentVariables") or {}),
    }
    if properties.get("codeConfiguration"):
        command, code = _scoring(cloud, workspace, properties, python, folder, port)
        variables |= code
    elif image.command:
        own = str((routes.get("scoringRoute") or {}).get("port", ""))
        command = [_on_loopback(word, own, port) for word in image.command]
    else:
        message = (
            "The environment names an image that is not built from a context, and the deployment"
            " has no scoring script: the emulator has nothing to run."
        )
        raise ArmError(400, "UserError", message)
    paths = {
        kind: (routes.get(f"{kind}Route") or {}).get("path", usual)
        for kind, usual in (("liveness", "/"), ("readiness", "/"), ("scoring", "/score"))
    }
    return Container(command, variables, folder, port, paths)


def wait_until_ready(container: Container, properties: dict[str, Any]) -> None:
    """Wait as long as the readiness probe allows. Raises what Azure says of one that never is."""
    probe = properties.get("readinessProbe") or {}
    allowed = seconds(probe.get("initialDelay"), 10) + seconds(probe.get("period"), 10) * int(
        probe.get("failureThreshold") or 30
    )
    deadline = time.monotonic() + allowed
    while not container.is_ready():
        if container.code() is not None:
            raise ArmError(
                400,
                "ResourceNotReady",
                f"User container has crashed or terminated: exit code {container.code()}. Please"
                f" see troubleshooting guide, available here: {_GUIDE}",
            )
        if time.monotonic() > deadline:
            message = f"Readiness probe failed: the container was not ready within {allowed:g} s."
            raise ArmError(400, "ResourceNotReady", message)
        time.sleep(_LOOK)


def _model(
    cloud: Cloud, workspace: ResourceId, properties: dict[str, Any], folder: Path
) -> dict[str, str]:
    """Put the model where Azure mounts it; return the variable that names the place."""
    given = properties.get("model")
    if not given:
        return {}
    model = cloud.resources.require(given.removeprefix("azureml:"))
    *_, name, _, version = model.id.text.split("/")
    address = model.properties["modelUri"]
    place = folder / _MODELS / name / version
    last = re.sub(r"/(paths/?)?$", "", address).rsplit("/", 1)[-1]
    source = blobs.resolve(cloud, workspace, address)
    try:
        # one file lies in the place itself, a folder under its own name
        source.download(place / last if source.names() else place)
    except FileNotFoundError as error:
        raise ArmError(
            400, "UserError", f"The model {name}:{version} has no files: {error}."
        ) from None
    return {"AZUREML_MODEL_DIR": str(place)}


def _scoring(
    cloud: Cloud,
    workspace: ResourceId,
    properties: dict[str, Any],
    python: Path,
    folder: Path,
    port: int,
) -> tuple[list[str], dict[str, str]]:
    """Return how Azure's own server runs a scoring script."""
    configuration = properties["codeConfiguration"]
    code = blobs.resolve(cloud, workspace, configuration["codeId"]).download(
        folder / _CODE / "code"
    )
    script = code / configuration["scoringScript"]
    # the server has no setting for the address that it listens on
    start = f"from {_SERVER} import amlserver as s; s.DEFAULT_HOST = '127.0.0.1'; s.run()"
    command = [str(python), "-c", start, "--entry_script", str(script), "--port", str(port)]
    return command, {"AML_APP_ROOT": str(script.parent)}


def _on_loopback(word: str, own: str, port: int) -> str:
    if own and word == own:
        return str(port)
    return "127.0.0.1" if word == "0.0.0.0" else word  # noqa: S104 - what is replaced
