"""Endpoints and deployments through azure-ai-ml: real processes answer behind Azure's gateway."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any  # Any: azure-ai-ml has no types

import ground
import httpx
import pytest
from ground import write

from emulator.arm.ids import ResourceId
from emulator.cloud import Cloud
from waiting import wait_until

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

SECONDS = 30.0
FAMILY = "standardESv3Family"
# a container: it says who it is, waits when asked to, refuses when asked to
SERVER = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

model = [p for b, _, fs in os.walk(os.environ["AZUREML_MODEL_DIR"]) for p in fs]

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.say(200, {"ready": True})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])) or "{}")
        time.sleep(asked.get("wait", 0))
        print("asked", asked, flush=True)
        answer = {"who": os.environ["WHO"], "model": model, "path": self.path}
        self.say(asked.get("status", 200), answer)

    def say(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(content)

if os.environ.get("BREAKS"):
    sys.exit("no space left on the device")
ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Answers).serve_forever()
"""
DOCKERFILE = """
FROM python:3.13-slim AS base
ENV WHO=nobody
FROM base
COPY server.py /server.py
ENTRYPOINT ["python", "{server}", "0.0.0.0", "5001"]
"""


@pytest.fixture(scope="module")
def workspace(azure: Cloud) -> ResourceId:
    return ground.make_workspace(azure)


@pytest.fixture(scope="module")
def model(ml: MLClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    from azure.ai.ml.entities import Model

    folder = write(tmp_path_factory.mktemp("model") / "tuned", w_txt="weights")
    found: str = ml.models.create_or_update(Model(name="m", version="1", path=folder)).id
    return found


@pytest.fixture(scope="module")
def image(ml: MLClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    from azure.ai.ml.entities import BuildContext, Environment

    folder = tmp_path_factory.mktemp("context")
    write(folder, server_py=SERVER)
    # a process of this machine has no file system of its own to find /server.py in
    text = DOCKERFILE.replace("{server}", str(folder / "server.py"))
    context = write(folder, Dockerfile=text)
    route = {"port": 5001, "path": "/health"}
    routes = {
        "liveness_route": route,
        "readiness_route": route,
        "scoring_route": {**route, "path": "/score"},
    }
    made = ml.environments.create_or_update(
        Environment(name="serve", build=BuildContext(path=context), inference_config=routes)
    )
    return f"{made.name}:{made.version}"


@pytest.fixture
def endpoint(azure: Cloud, ml: MLClient, request: pytest.FixtureRequest) -> Iterator[str]:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    name = f"e{abs(hash(request.node.name)) % 10**8}"
    ml.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=name, auth_mode="key")
    ).result()
    yield name
    if azure.resources.get(id_of(azure, name)):
        ml.online_endpoints.begin_delete(name).result()


def id_of(azure: Cloud, endpoint: str, deployment: str = "") -> ResourceId:
    group = f"{azure.subscription}/resourceGroups/{ground.GROUP}"
    workspace = f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{ground.WORKSPACE}"
    id = ResourceId(f"{workspace}/onlineEndpoints/{endpoint}")
    return id.child("deployments", deployment) if deployment else id


def deploy(ml: MLClient, endpoint: str, name: str, model: str, image: str, **more: Any) -> Any:
    from azure.ai.ml.entities import ManagedOnlineDeployment, OnlineRequestSettings, ProbeSettings

    settings = {
        "instance_type": ground.SIZE,
        "instance_count": 1,
        "environment_variables": {"WHO": name},
        "readiness_probe": ProbeSettings(initial_delay=10, period=1, failure_threshold=5),
        "request_settings": OnlineRequestSettings(
            request_timeout_ms=2000, max_concurrent_requests_per_instance=1
        ),
        **more,
    }
    asked = ManagedOnlineDeployment(
        name=name, endpoint_name=endpoint, model=model, environment=image, **settings
    )
    return ml.online_deployments.begin_create_or_update(asked).result()


def route(ml: MLClient, endpoint: str, mirror: dict[str, int] | None = None, **shares: int) -> None:
    found = ml.online_endpoints.get(endpoint)
    found.traffic, found.mirror_traffic = shares, mirror or {}
    ml.online_endpoints.begin_create_or_update(found).result()


def ask(
    azure: Cloud, ml: MLClient, endpoint: str, body: Any = None, *, key: str = "", **headers: str
) -> httpx.Response:
    given = key or ml.online_endpoints.get_keys(endpoint).primary_key
    address = f"https://{endpoint}.eastus2.inference.ml.azure.com/score"
    sent = {"authorization": f"Bearer {given}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    proxy = f"http://127.0.0.1:{azure.proxy_port}"
    with httpx.Client(verify=azure.certificates.trust(), proxy=proxy, timeout=30) as http:
        return http.post(address, json=body or {}, headers=sent)


def test_a_deployment_serves_the_model_that_is_mounted_for_it(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    assert deploy(ml, endpoint, "blue", model, image).provisioning_state == "Succeeded"
    assert ask(azure, ml, endpoint).status_code == 404  # nobody has traffic yet
    route(ml, endpoint, blue=100)
    answer = ask(azure, ml, endpoint)
    assert answer.json() == {"who": "blue", "model": ["w.txt"], "path": "/score"}
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert "asked {}" in ml.online_deployments.get_logs("blue", endpoint, lines=20)


def test_keys_are_needed_and_can_be_changed(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    deploy(ml, endpoint, "blue", model, image)
    route(ml, endpoint, blue=100)
    wrong = ask(azure, ml, endpoint, key="wrong")
    assert (wrong.status_code, wrong.text) == (401, "key_auth_access_denied")
    before = ml.online_endpoints.get_keys(endpoint)
    assert ask(azure, ml, endpoint, key=before.secondary_key).status_code == 200
    ml.online_endpoints.begin_regenerate_keys(endpoint, key_type="primary").result()
    assert ask(azure, ml, endpoint, key=before.primary_key).status_code == 401
    assert ask(azure, ml, endpoint, key=before.secondary_key).status_code == 200
    assert ask(azure, ml, endpoint).status_code == 200


def test_traffic_is_shared_mirrored_and_named(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    deploy(ml, endpoint, "blue", model, image)
    deploy(ml, endpoint, "green", model, image)
    route(ml, endpoint, {"green": 50}, blue=100)
    assert {ask(azure, ml, endpoint, {"n": n}).json()["who"] for n in range(12)} == {"blue"}
    wait_until(lambda: "asked {'n'" in ml.online_deployments.get_logs("green", endpoint, lines=50))
    named = ask(azure, ml, endpoint, azureml_model_deployment="green")
    assert named.json()["who"] == "green"
    route(ml, endpoint, blue=50, green=50)
    wait_until(lambda: ask(azure, ml, endpoint).json()["who"] == "green")
    wait_until(lambda: ask(azure, ml, endpoint).json()["who"] == "blue")


def test_an_endpoint_wraps_what_its_container_refuses_and_what_takes_too_long(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    deploy(ml, endpoint, "blue", model, image)
    route(ml, endpoint, blue=100)
    refused = ask(azure, ml, endpoint, {"status": 413})
    assert refused.status_code == 424
    assert refused.headers["ms-azureml-model-error-statuscode"] == "413"
    late = ask(azure, ml, endpoint, {"wait": 4})
    assert (late.status_code, late.text) == (408, "upstream request timeout")
    key = ml.online_endpoints.get_keys(endpoint).primary_key

    async def many() -> list[int]:
        proxy = f"http://127.0.0.1:{azure.proxy_port}"
        address = f"https://{endpoint}.eastus2.inference.ml.azure.com/score"
        async with httpx.AsyncClient(
            verify=azure.certificates.trust(),
            proxy=proxy,
            headers={"authorization": f"Bearer {key}"},
            timeout=30,
        ) as http:
            asked = [http.post(address, json={"wait": 0.5}) for _ in range(4)]
            return sorted(answer.status_code for answer in await asyncio.gather(*asked))

    assert asyncio.run(many()) == [200, 200, 429, 429]  # twice as many as it may answer at once


def test_a_deployment_that_never_starts_says_why_and_is_billed_until_it_is_removed(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    from azure.core.exceptions import HttpResponseError

    with pytest.raises(HttpResponseError, match="User container has crashed"):
        deploy(ml, endpoint, "bad", model, image, environment_variables={"BREAKS": "1"})
    assert ml.online_deployments.get("bad", endpoint).provisioning_state == "Failed"
    said = ml.online_deployments.get_logs("bad", endpoint, lines=5)
    assert said == "no space left on the device"
    billed = id_of(azure, endpoint, "bad").text
    assert billed in [one.resource for one in azure.ledger.by_the_hour()]
    ml.online_deployments.begin_delete("bad", endpoint).result()
    assert billed not in [one.resource for one in azure.ledger.by_the_hour()]


def test_an_image_that_cannot_be_built_fails_the_deployment(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    from azure.core.exceptions import HttpResponseError

    azure.faults.add("build-image message='no space left'")
    with pytest.raises(HttpResponseError, match="The image build failed: no space left"):
        deploy(ml, endpoint, "blue", model, image)


def test_a_deployment_crashes_on_demand(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    from azure.core.exceptions import HttpResponseError

    azure.faults.add(f"crash at={endpoint}/deployments/blue")
    with pytest.raises(HttpResponseError, match="ResourceNotReady"):
        deploy(ml, endpoint, "blue", model, image)
    assert deploy(ml, endpoint, "blue", model, image).provisioning_state == "Succeeded"


def test_quota_counts_a_fifth_more_instances_than_there_are(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    from azure.core.exceptions import HttpResponseError

    before = azure.quota.used(ground.REGION, FAMILY)
    deploy(ml, endpoint, "blue", model, image)
    assert azure.quota.used(ground.REGION, FAMILY) - before == 8  # 1.2 instances are 2, of 4 cores
    with pytest.raises(HttpResponseError, match="OutOfQuota"):
        deploy(ml, endpoint, "green", model, image, instance_count=20)
    green = id_of(azure, endpoint, "green")
    assert green.text not in [one.resource for one in azure.ledger.by_the_hour()]


def test_instances_change_without_a_new_container(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    deploy(ml, endpoint, "blue", model, image)
    id = id_of(azure, endpoint, "blue")
    container = azure.ml.container(id)
    deploy(ml, endpoint, "blue", model, image, instance_count=2)
    assert azure.ml.container(id) is container
    assert [one.quantity for one in azure.ledger.running() if one.resource == id.text] == [2]
    deploy(ml, endpoint, "blue", model, image, environment_variables={"WHO": "other"})
    route(ml, endpoint, blue=100)
    assert ask(azure, ml, endpoint).json()["who"] == "other"


def test_a_container_that_ends_is_started_again(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    deploy(ml, endpoint, "blue", model, image)
    route(ml, endpoint, blue=100)
    container = azure.ml.container(id_of(azure, endpoint, "blue"))
    assert container is not None
    os.kill(container._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    wait_until(lambda: container.restarts == 1)
    wait_until(lambda: ask(azure, ml, endpoint).status_code == 200)


def test_a_deployment_with_traffic_stays_and_an_endpoint_takes_all_with_it(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    from azure.core.exceptions import HttpResponseError

    deploy(ml, endpoint, "blue", model, image)
    route(ml, endpoint, blue=100)
    with pytest.raises(HttpResponseError, match="'blue' has traffic"):
        ml.online_deployments.begin_delete("blue", endpoint).result()
    container = azure.ml.container(id_of(azure, endpoint, "blue"))
    ml.online_endpoints.begin_delete(endpoint).result()
    assert azure.ledger.by_the_hour() == []
    assert azure.quota.used(ground.REGION, FAMILY) == 0
    assert container is not None
    assert container.code() is not None


@pytest.mark.parametrize(
    ("shares", "mirror", "why"),
    [
        ({"gone": 100}, {}, "The deployment 'gone' that traffic names does not exist"),
        ({"blue": 70}, {}, "must sum to 0 or to 100"),
        ({"blue": 100}, {"green": 80}, "At most 50 %"),
    ],
)
def test_traffic_that_makes_no_sense_is_refused(
    azure: Cloud, shares: dict[str, int], mirror: dict[str, int], why: str
) -> None:
    from emulator.arm.errors import ArmError
    from emulator.arm.resources import Resource
    from emulator.ml.endpoints import _check_shares

    endpoint = Resource(id_of(azure, "shares"), {})
    for name in ("blue", "green"):
        azure.resources.put(Resource(endpoint.id.child("deployments", name), {}))
    with pytest.raises(ArmError, match=why):
        _check_shares(azure, endpoint, shares, mirror)
    azure.resources.remove(endpoint.id)


def test_autoscale_bounds_are_applied(
    azure: Cloud, ml: MLClient, endpoint: str, model: str, image: str
) -> None:
    deploy(ml, endpoint, "blue", model, image)
    id = id_of(azure, endpoint, "blue")
    group = f"{azure.subscription}/resourceGroups/{ground.GROUP}"
    bounds = {"minimum": "2", "default": "2", "maximum": "3"}
    ground.put(
        azure,
        f"{group}/providers/Microsoft.Insights/autoscaleSettings/more",
        properties={
            "targetResourceUri": id.text,
            "enabled": True,
            "profiles": [{"name": "default", "capacity": bounds, "rules": []}],
        },
    )
    assert ml.online_deployments.get("blue", endpoint).instance_count == 2


def test_an_endpoint_needs_a_name_that_azure_takes(azure: Cloud, workspace: ResourceId) -> None:
    from emulator.arm.errors import ArmError

    with pytest.raises(ArmError, match="'a_b' is no name of an endpoint"):
        ground.put(azure, id_of(azure, "a_b").text, properties={"authMode": "Key"})
