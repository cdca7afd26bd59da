"""Our own container behind an emulated endpoint: its context is built, its model mounted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import ground
import httpx
import pytest
from ground import client, emulated, write

from emulator.cloud import Cloud
from emulator.ml import images
from emulator.settings import Settings

SOURCE = Path(__file__).parents[2] / "src"
DOCKERFILE = """\
FROM python:3.13-slim
COPY hieno-*.whl /tmp/
ENV HIENO_HOME=/tmp/hieno HF_HUB_OFFLINE=1
ENTRYPOINT ["python", "-X", "utf8", "-m", "hieno.serve", "--host", "0.0.0.0", "--port", "5001"]
"""

SCORING_PINS = Path(images.__file__).with_name("inference-server.txt")
SCORE = """\
import json, os

def init():
    global names
    names = [name for _, _, files in os.walk(os.environ["AZUREML_MODEL_DIR"]) for name in files]

def run(raw):
    return {"asked": json.loads(raw), "names": names}
"""


@pytest.mark.slow
def test_our_container_answers_behind_an_endpoint(
    azure: Cloud, tiny_model: Path, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import (
        BuildContext,
        Environment,
        ManagedOnlineDeployment,
        ManagedOnlineEndpoint,
        Model,
        OnlineRequestSettings,
        ProbeSettings,
    )

    ml = client(azure, ground.make_workspace(azure).name)
    context = tmp_path / "context"
    write(context, Dockerfile=DOCKERFILE)
    with zipfile.ZipFile(context / "hieno-0-py3-none-any.whl", "w") as wheel:
        for path in sorted((SOURCE / "hieno").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                wheel.write(path, path.relative_to(SOURCE))
    route = {"port": 5001, "path": "/v1/models"}
    routes = {"liveness_route": route, "readiness_route": route}
    image = ml.environments.create_or_update(
        Environment(
            name="hieno",
            build=BuildContext(path=str(context)),
            inference_config={**routes, "scoring_route": {"port": 5001, "path": "/score"}},
        )
    )
    model = ml.models.create_or_update(Model(name="tiny", version="1", path=str(tiny_model)))
    ml.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name="tuned", auth_mode="key")
    ).result()
    ml.online_deployments.begin_create_or_update(
        ManagedOnlineDeployment(
            name="blue",
            endpoint_name="tuned",
            model=model,
            environment=image,
            instance_type=ground.SIZE,
            instance_count=1,
            request_settings=OnlineRequestSettings(request_timeout_ms=60_000),
            readiness_probe=ProbeSettings(initial_delay=10, period=10, failure_threshold=12),
        )
    ).result()
    endpoint = ml.online_endpoints.get("tuned")
    endpoint.traffic = {"blue": 100}
    ml.online_endpoints.begin_create_or_update(endpoint).result()
    base = endpoint.scoring_uri.removesuffix("/score")
    key = {"authorization": f"Bearer {ml.online_endpoints.get_keys('tuned').primary_key}"}
    proxy = f"http://127.0.0.1:{azure.proxy_port}"
    with httpx.Client(
        verify=azure.certificates.trust(), proxy=proxy, headers=key, timeout=120
    ) as http:
        asked = {
            "input_data": [[{"role": "user", "content": "Hello"}]],
            "params": {"max_new_tokens": 4},
        }
        scored = http.post(f"{base}/score", json=asked)
        chat = {"messages": asked["input_data"][0], "max_tokens": 4, "stream": True}
        streamed = http.post(f"{base}/v1/chat/completions", json=chat | {"model": "hieno"})
        wrong = http.post(f"{base}/score", json={"input_data": 7})
    assert scored.status_code == 200, scored.text
    events = [line for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "data: [DONE]"
    assert json.loads(events[0].removeprefix("data: "))["object"] == "chat.completion.chunk"
    assert wrong.status_code == 424
    assert wrong.headers["ms-azureml-model-error-statuscode"] == "400"


@pytest.mark.slow
def test_a_scoring_script_is_run_by_azures_own_server(tmp_path: Path) -> None:
    from azure.ai.ml.entities import (
        BuildContext,
        CodeConfiguration,
        Environment,
        ManagedOnlineDeployment,
        ManagedOnlineEndpoint,
        Model,
    )

    context = write(
        tmp_path / "context",
        Dockerfile="FROM python:3.11\nCOPY pins.txt /\nRUN pip install -r /pins.txt\n",
        pins_txt=SCORING_PINS.read_text(encoding="utf-8"),
    )
    code = write(tmp_path / "code", score_py=SCORE)
    weights = write(tmp_path / "tuned", w_txt="weights")
    with emulated(tmp_path / "azure", Settings(builds_images=True)) as cloud:
        ml = client(cloud, ground.make_workspace(cloud).name)
        ml.online_endpoints.begin_create_or_update(
            ManagedOnlineEndpoint(name="scripted", auth_mode="key")
        ).result()
        ml.online_deployments.begin_create_or_update(
            ManagedOnlineDeployment(
                name="blue",
                endpoint_name="scripted",
                model=Model(name="m", version="1", path=weights),
                environment=Environment(name="scoring", build=BuildContext(path=context)),
                code_configuration=CodeConfiguration(code=code, scoring_script="score.py"),
                instance_type=ground.SIZE,
                instance_count=1,
            )
        ).result()
        endpoint = ml.online_endpoints.get("scripted")
        endpoint.traffic = {"blue": 100}
        ml.online_endpoints.begin_create_or_update(endpoint).result()
        request = tmp_path / "request.json"
        request.write_text('{"n": 1}', encoding="utf-8")
        said = ml.online_endpoints.invoke("scripted", request_file=str(request))
    assert json.loads(said) == {"asked": {"n": 1}, "names": ["w.txt"]}
