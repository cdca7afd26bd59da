"""The ways in and out: the proxy, the certificates, the prices, the ledger, `emulator run`."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import httpx
import psutil
import pytest
from plane import REGISTRY, Plane

from emulator.cloud import Cloud
from emulator.contract import published
from emulator.contract.checks import check_exchange
from emulator.ledger import Ledger
from emulator.server import running
from emulator.trace import Exchange

ROOT = Path(__file__).parents[3]
PRICES = "https://prices.azure.com/api/retail/prices"


def _client(cloud: Cloud) -> httpx.Client:
    proxy = f"http://127.0.0.1:{cloud.proxy_port}"
    return httpx.Client(proxy=proxy, verify=cloud.certificates.trust(), trust_env=False)


def test_a_name_that_is_not_azures_is_refused_and_recorded(cloud: Cloud) -> None:
    with _client(cloud) as client, pytest.raises(httpx.ProxyError, match="403"):
        client.get("https://telemetry.example.com/")
    assert cloud.trace.refused == ["CONNECT telemetry.example.com:443"]


def test_a_client_that_does_not_know_the_authority_does_not_connect(cloud: Cloud) -> None:
    proxy = f"http://127.0.0.1:{cloud.proxy_port}"
    with (
        httpx.Client(proxy=proxy, trust_env=False) as client,
        pytest.raises(httpx.ConnectError, match="certificate verify failed"),
    ):
        client.get(PRICES)


def test_keys_lie_in_private_files(cloud: Cloud) -> None:
    keys = list((cloud.folder / "tls").glob("*.key"))
    assert keys
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}


def _all_prices(cloud: Cloud, wanted: str) -> list[dict[str, object]]:
    found, address = [], str(httpx.URL(PRICES, params={"$filter": wanted}))
    with _client(cloud) as client:
        while address:
            page = client.get(address).json()
            found += page["Items"]
            address = page["NextPageLink"]
    return found


def test_prices_come_in_pages_with_the_neighbours_that_a_plan_must_not_take(cloud: Cloud) -> None:
    size = "armSkuName eq 'Standard_E4s_v3' and armRegionName eq 'eastus2'"
    found = _all_prices(cloud, f"{size} and priceType eq 'Consumption'")
    assert len(found) == 4
    names = [f"{one['productName']}|{one['meterName']}" for one in found]
    assert sum("Windows" in name for name in names) == 1
    assert sum("Spot" in name or "Low Priority" in name for name in names) == 2
    assert _all_prices(cloud, size.replace("eastus2", "EastUS2")) == []


def test_the_ledger_knows_what_is_billed_now() -> None:
    ledger = Ledger()
    ledger.begin("/ws/ep/blue", "E4s v3", 1, by_the_hour=True)
    ledger.begin("/ws/ep/blue", "E4s v3", 1, by_the_hour=True)
    ledger.begin("/ws/ep/green", "E4s v3", 2, by_the_hour=True)
    ledger.begin("/ws", "storage", by_the_hour=False)
    assert [one.quantity for one in ledger.by_the_hour()] == [1, 2]
    ledger.begin("/ws/ep/green", "E4s v3", 3, by_the_hour=True)
    assert [one.quantity for one in ledger.by_the_hour()] == [1, 3]
    ledger.end("/WS/EP")
    assert [one.meter for one in ledger.running()] == ["storage"]
    assert len(ledger.entries()) == 4


def test_a_persons_own_address_tells_and_takes_faults(plane: Plane, cloud: Cloud) -> None:
    plane.put(REGISTRY)
    with httpx.Client(base_url=cloud.control, trust_env=False) as client:
        ledger = client.get("/emulator/ledger").json()
        assert [one["meter"] for one in ledger] == ["Basic Registry Unit"]
        assert client.post("/emulator/faults", json={"fault": "cut at=GET:*"}).status_code == 204
        assert client.post("/emulator/faults", json={"fault": "no"}).status_code == 400
        assert len(client.get("/emulator/faults").json()["pending"]) == 1
        client.delete("/emulator/faults")
        metric = {"resource": "/subscriptions/s", "values": {"m": 1}, "late": True}
        assert client.post("/emulator/metrics", json=metric).status_code == 204
        assert client.post("/emulator/arrive").status_code == 204
        calls = client.get("/emulator/calls").json()
    registries = "/subscriptions/*/resourceGroups/*/providers/Microsoft.ContainerRegistry"
    assert f"PUT management.azure.com {registries}/registries/* 2025-12-01" in calls["calls"]
    assert calls["refused"] == []
    assert cloud.faults.pending() == []


def test_a_body_that_is_not_as_published_is_found() -> None:
    if published() is None:
        pytest.skip("needs the published types (HIENO_AZURE_SCHEMAS)")
    path = f"/subscriptions/s/resourceGroups/g/providers/{REGISTRY}"
    sent = {"location": "eastus2", "sku": {"name": "Basic", "tier": "Basic"}, "tipo": 1}
    answered = {"location": 3, "sku": {"name": "Basic"}, "properties": {"adminUserEnabled": "no"}}
    version = {"api-version": "2025-11-01"}
    exchange = Exchange("PUT", "management.azure.com", path, version, 200, sent, answered)
    found = {f"{one.side}{one.path} {one.problem}" for one in check_exchange(exchange)}
    assert found == {
        "request.sku.tier is read-only, and was sent",
        "request.tipo is not known",
        "answer.location is int, not a text",
        "answer.properties.adminUserEnabled is str, not a boolean",
    }


def _run(
    tmp_path: Path, script: str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emulator", "run", "--folder", str(tmp_path / "run"), *options]
    return subprocess.run(
        [*command, "--", sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "HTTP_PROXY": "http://127.0.0.1:9", **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def test_a_command_gives_its_code_and_hears_what_is_still_billed(
    tmp_path: Path,
) -> None:
    script = """
import os, sys, httpx
from azure.identity import AzureCliCredential
token = AzureCliCredential().get_token("https://management.azure.com/.default").token
group = f"/subscriptions/{os.environ['AZURE_SUBSCRIPTION_ID']}/resourceGroups/rg"
client = httpx.Client(
    base_url="https://management.azure.com", params={"api-version": "2025-11-01"},
    headers={"Authorization": f"Bearer {token}"},
)
client.put(group, json={"location": "eastus2"}).raise_for_status()
registry = f"{group}/providers/Microsoft.ContainerRegistry/registries/registry1"
for _ in range(2):
    answer = client.put(registry, json={"location": "eastus2", "sku": {"name": "Basic"}})
    print(answer.status_code)
assert "HTTP_PROXY" not in os.environ
sys.exit(3)
"""
    done = _run(tmp_path, script, "--fault", "throttle at=PUT:*/registries/*")
    assert (done.returncode, done.stdout) == (3, "429\n201\n"), done.stderr
    assert "emulator: still billed a little: 1 x Basic Registry Unit, " in done.stderr
    lines = (tmp_path / "run" / "trace.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["status"] for line in lines][-2:] == [429, 201]


def test_the_end_closes_what_clients_hold_open(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with running(tmp_path) as cloud:
            clients = [_client(cloud) for _ in range(3)]
            for client in clients:
                assert client.get(PRICES).status_code == 200
        gc.collect()
    for client in clients:
        client.close()
    assert [str(one.message) for one in caught] == []


def test_a_run_finds_what_is_the_users_and_leaves_no_price_behind(tmp_path: Path) -> None:
    users = tmp_path / "home"
    (users / "models").mkdir(parents=True)
    (users / "azure").mkdir()
    (users / "azure" / "prices.json").write_text("true ones", encoding="utf-8")
    script = """
import os, pathlib
home = pathlib.Path(os.environ["HIENO_HOME"])
(home / "models" / "new").touch()
(home / "azure").mkdir()
(home / "azure" / "prices.json").write_text("made up", encoding="utf-8")
"""
    done = _run(tmp_path, script, HIENO_HOME=str(users))
    assert done.returncode == 0, done.stderr
    assert (users / "models" / "new").exists()
    assert (users / "azure" / "prices.json").read_text(encoding="utf-8") == "true ones"


def test_a_run_that_is_told_to_end_ends_its_command_as_well() -> None:
    script = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    command = [sys.executable, "-m", "emulator", "run", "--", sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not psutil.pid_exists(child)


def test_the_product_does_not_know_that_there_is_an_emulator() -> None:
    sources = [path for path in (ROOT / "src").rglob("*.py") if "emulat" in path.read_text("utf-8")]
    assert sources == []
