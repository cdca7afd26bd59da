"""The four that are asked: MLflow's server, the container, its gateway, and the engine alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.serve.settings import STREAMS, TOKENS, WEIGHTS

if TYPE_CHECKING:
    from hieno.serve.engines import Engine


@dataclass(frozen=True)
class Endpoint:
    """The addresses of a container and of the gateway before it, its key and its folder."""

    container: str
    gateway: str
    key: str
    folder: Path


def package() -> Path:
    """Return the model's package, converted for the engine that serves it here."""
    from hieno.models import pull
    from hieno.package.convert import choose_engine, convert_base

    class Quiet:
        def stage(self, name: str) -> None:
            print(name, file=sys.stderr)

        def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None:
            return

        def say(self, line: str) -> None:
            print(line, file=sys.stderr)

    root = pull(os.environ.get("MODEL", "demo"), reporter=Quiet())
    convert_base(root, engine=choose_engine("auto"), weights=WEIGHTS, say=Quiet().say)
    return root


@contextmanager
def mlflow_server(root: Path, folder: Path) -> Iterator[str]:
    """Serve the checkpoint with MLflow; yield its address."""
    from hieno.package.layout import weights_folder
    from hieno.ports import free_port

    model, port = folder / "mlflow", free_port()
    save = [sys.executable, "-m", "benchmarks.serve", "save-for-mlflow"]
    save += [str(weights_folder(root)), str(model)]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model)]
    command += ["--port", str(port), "--env-manager", "local", "--timeout", "1800"]
    # It starts `uvicorn` by name.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    with (folder / "mlflow.log").open("wb") as log:
        here = Path(__file__).parents[2]
        subprocess.run(save, check=True, stdout=log, stderr=log, cwd=here)
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=os.environ | {"PATH": path},
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", process, folder / "mlflow.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # a session of its own: nobody else's
            process.wait(timeout=30)


def save_for_mlflow(weights: str, target: str) -> None:
    """Log the checkpoint as MLflow's tutorials do, with answers of a fixed length."""
    import mlflow
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
    mlflow.transformers.save_model(
        transformers_model=pipeline(
            "text-generation", model=model, tokenizer=AutoTokenizer.from_pretrained(weights)
        ),
        path=target,
        model_config={
            "max_new_tokens": TOKENS,
            "min_new_tokens": TOKENS,
            "do_sample": False,
            "return_full_text": False,
        },
        pip_requirements=["mlflow", "transformers", "torch"],
        input_example="hello",
    )


@contextmanager
def endpoint(root: Path, folder: Path, *, limit: int | None = None) -> Iterator[Endpoint]:
    """Deploy the package and yield where it answers; `limit` requests may be in flight."""
    from hieno.endpoint import control
    from hieno.endpoint.state import DeploymentSpec, Limits
    from hieno.ports import free_port
    from hieno.processes import python_module

    most = str(max(64, *STREAMS))
    command = python_module("hieno.serve", str(root), "--port", "{port}", "--name", "bench")
    command += ["--weights", WEIGHTS, "--max-requests", most]
    spec = DeploymentSpec("1", tuple(command), root=str(root))
    place = folder / "bench"
    say = lambda line: print(line, file=sys.stderr)  # noqa: E731
    try:
        limits = limit and Limits(max_concurrent=limit // 2)  # twice as many, by Azure's rule
        status = control.deploy(
            place, spec, port=free_port(), wait=300, say=say, limits=limits or None
        )
        [name] = [name for name, share in status.traffic.items() if share]
        container = f"http://127.0.0.1:{status.deployments[name].instances[0].port}"
        key = control.keys(place).primary.get_secret_value()
        yield Endpoint(container, status.url, key, place)
    finally:
        control.down(place)


@contextmanager
def engine(root: Path) -> Iterator[Engine]:
    """Open the same engine in this process, without any HTTP."""
    from hieno.config import Serve
    from hieno.serve.engines.choice import open_engine

    settings = Serve(max_requests=max(64, *STREAMS))
    opened = open_engine(root, weights=WEIGHTS, settings=settings)
    try:
        yield opened
    finally:
        opened.close()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server says that it is well, five minutes at most."""
    import httpx

    deadline = time.monotonic() + 300
    while True:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
        assert time.monotonic() < deadline, f"no answer from {url}"
        time.sleep(0.2)
