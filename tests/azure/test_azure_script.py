"""A deployment by scoring script: Azure's own inference server, and our container behind it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

import hieno
from emulator import ml
from emulator.ml import packages
from emulator.settings import Settings
from hieno import ports
from hieno.files import published, read_manifest
from hieno.package import layout
from hieno.project import Project, open_project
from hieno.registry import versions
from hieno.registry.versions import ModelVersion
from hieno.targets.azure import images, script
from hieno.targets.azure.target import AzureTarget
from standing import emulated, make_base, make_project

LINEAGE = '{"model_version": "tiny:1"}'


def register(project: Project, model: Path) -> ModelVersion:
    """Register a package that can be opened, as champion."""
    key = "5" * 64
    folder = project.packages / key[:12]
    with published(folder, kind="package", key=key) as (partial, facts):
        shutil.copytree(model, partial / layout.MODEL)
        (partial / "README.md").write_text("# tiny\n", encoding="utf-8")
        facts["engine"] = "transformers"
    manifest = read_manifest(folder)
    assert manifest is not None
    roles = ("run", "dataset", "base", "evaluation")
    lineage = {
        "package": {"key": key, "digest": manifest.digest},
        **{role: {"digest": "1" * 8} for role in roles},
        "gate": {"passed": True, "reasons": [], "waiver": None},
    }
    name = project.config.name
    versions.add(
        project.registry, name=name, package=folder, digest=manifest.digest, lineage=lineage
    )
    versions.set_alias(project.registry, "champion", 1)
    return versions.find(project.registry, "1")


@pytest.fixture
def server(tmp_path: Path, tiny_model: Path) -> Iterator[str]:
    """Azure's inference server with our script, as its image starts it; the address."""
    python = packages.ensure([Path(ml.__file__).with_name("inference-server.txt")], os.environ)
    start = (
        "from azureml_inference_server_http import amlserver as s; s.DEFAULT_HOST = '127.0.0.1'; "
        "s.run()"
    )
    port = ports.free_port()
    scoring = Path(images.__file__).parent / "images" / "script" / script.NAME
    environment = {
        **{
            name: os.environ[name]
            for name in ("PATH", "HOME", "OMP_NUM_THREADS")
            if name in os.environ
        },
        **script.variables(2, 60),
        "AML_APP_ROOT": str(scoring.parent),
        "AZUREML_MODEL_DIR": str(tiny_model),
        "HIENO_PYTHON": sys.executable,
        "HIENO_NAME": "tiny",
        "HIENO_LINEAGE": LINEAGE,
        "PYTHONPATH": str(Path(hieno.__file__).parents[1]),
    }
    words = [str(python), "-c", start, "--entry_script", str(scoring), "--port", str(port)]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            words, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/", process, tmp_path / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(httpx.HTTPError):
                if client.get(url).status_code == 200:
                    return
            threading.Event().wait(0.2)
    raise AssertionError(log.read_text(encoding="utf-8", errors="replace")[-3000:])


@pytest.mark.slow
def test_the_script_speaks_the_protocol_of_azures_server(server: str) -> None:
    with httpx.Client(base_url=server, trust_env=False, timeout=120) as client:
        body = {"input_data": ["Who?"], "params": {"max_new_tokens": 4}}
        scored = client.post("/score", json=body)
        assert scored.status_code == 200, scored.text
        assert scored.headers["hieno-model-version"] == "tiny:1"
        asked = {
            "model": "tiny",
            "messages": [{"role": "user", "content": "Who?"}],
            "max_tokens": 4,
        }
        chat = client.post("/score", json=asked, headers={"hieno-route": "/v1/chat/completions"})
        assert chat.json()["choices"][0]["message"]["content"] == scored.json()[0]
        refused = client.post("/score", json={})
        assert refused.status_code == 400
        assert refused.json() == {
            "message": "A value is not provided for the 'input_data' parameter."
        }

        [container] = [
            one
            for one in psutil.process_iter(["cmdline", "environ"])
            if "hieno.serve" in (one.info["cmdline"] or ())
            and (one.info["environ"] or {}).get("HIENO_LINEAGE") == LINEAGE
        ]
        container.kill()  # its end is seen before the next question, or by it
        assert client.post("/score", json=body).json() == scored.json()


@pytest.mark.slow
def test_a_script_answers_as_the_container_does_on_every_address(
    tmp_path: Path, tiny_model: Path
) -> None:
    made = make_project(tmp_path / "project", "azure")
    flags = {"azure.endpoint.serving": "script", "serve.max_requests": 4}
    project = open_project(made.root, flags=flags)
    target = AzureTarget(project)
    with emulated(tmp_path / "azure", Settings(builds_images=True)) as cloud:
        version = register(project, tiny_model)
        said: list[str] = []
        target.deploy(version, base=make_base(made.root / "base"), say=said.append)
        assert target.serving(version) is not None
        found = target.connect()
        key = {"authorization": f"Bearer {found.key.get_secret_value()}"}
        with (
            httpx.Client(base_url=found.url, headers=key, trust_env=False, timeout=120) as client,
            ThreadPoolExecutor(3) as pool,
        ):
            body = {"input_data": ["Who?"], "params": {"max_new_tokens": 4}}
            together = list(pool.map(lambda _: client.post("/score", json=body), range(3)))
            asked = {"messages": [{"role": "user", "content": "Who?"}], "max_tokens": 4}
            chat = client.post("/v1/chat/completions", json={**asked, "model": "books"})
            streamed = client.post(
                "/v1/chat/completions", json={**asked, "model": "books", "stream": True}
            )
            names = client.get("/v1/models")
            wrong = client.post("/score", json={})
        assert {one.status_code for one in together} == {200}, together[0].text
        [text] = together[0].json()
        assert all(one.json() == [text] for one in together)
        assert together[0].headers["hieno-model-version"] == "books:1"
        assert chat.json()["choices"][0]["message"]["content"] == text
        assert streamed.text.rstrip().endswith("data: [DONE]")
        assert names.status_code == 200
        assert wrong.headers["ms-azureml-model-error-statuscode"] == "400"
        assert "'input_data' parameter" in wrong.text
        sent = [
            one.sent["properties"]
            for one in cloud.trace.exchanges
            if one.method == "PUT" and one.path.endswith("/deployments/blue")
        ]
        assert sent[0]["codeConfiguration"]["scoringScript"] == "score.py"
        target.down()
        assert not cloud.ledger.by_the_hour()
