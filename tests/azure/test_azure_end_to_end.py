"""The whole way on Azure as the emulator has it, from nothing: a really fine-tuned model, the real
client libraries, every command as a user types it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from numpy.linalg import norm
from safetensors.numpy import load_file

from emulator.cloud import Cloud
from emulator.settings import Settings
from hieno.endpoint import control
from hieno.project import open_project
from hieno.targets.azure.target import AzureTarget
from standing import billed_in_turn, emulated
from two_facts import write_project

PORT = 18_400


class User:
    """Somebody who types commands in a project's folder."""

    def __init__(self, root: Path, home: Path | None = None) -> None:
        self.root = root
        self.own = {"HIENO_HOME": str(home)} if home else {}

    def types(self, *words: str, code: int = 0) -> str:
        """Type a command; return what it printed. What it told goes to this process's stderr."""
        command = [sys.executable, "-m", "hieno", *words]
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**os.environ, **self.own},
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == code, f"hieno {' '.join(words)}: {done.stdout}"
        return done.stdout

    def reads(self, *words: str) -> Any:
        return json.loads(self.types(*words, "--json"))

    def states(self, *words: str) -> dict[str, str]:
        return {stage["stage"]: stage["state"] for stage in self.reads(*words)["stages"]}


@pytest.fixture
def cloud(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    home = tmp_path / "home"
    home.mkdir()
    usual = Path.home() / ".cache" / "hieno" / "environments"
    if usual.is_dir():  # prompt flow's packages are not fetched again
        (home / "environments").symlink_to(usual)
    monkeypatch.setenv("HIENO_HOME", str(home))
    with emulated(tmp_path / "azure", getattr(request, "param", None)) as made:
        yield made


@pytest.fixture
def user(cloud: Cloud, tmp_path: Path, tiny_model: Path) -> Iterator[User]:
    del cloud  # it must be there first, and last
    root = tmp_path / "project"
    endpoint = {"name": "tiny-one", "port": PORT}
    write_project(root, tiny_model, target="azure", azure={"preset": "cpu"}, endpoint=endpoint)
    yield User(root)
    control.down(open_project(root).endpoint)


def test_a_training_is_a_job_and_its_run_looks_like_a_local_one(
    cloud: Cloud, user: User, tmp_path: Path
) -> None:
    short = ("train", "--epochs", "1")
    first = user.reads(*short)["stages"]
    assert [stage["state"] for stage in first] == ["done", "done", "done"]
    run = Path(first[2]["details"]["folder"])
    assert {"manifest.json", "metrics.jsonl"} <= {path.name for path in run.iterdir()}
    assert not (run / "adapter").exists()  # the weights stay there

    assert set(user.states(*short).values()) == {"current"}
    mate = User(tmp_path / "clone", home=tmp_path / "mate")  # without the base model
    shutil.copytree(user.root, mate.root, ignore=shutil.ignore_patterns(".hieno"))
    seen = mate.states("status", "--set", "train.epochs=1")
    assert [seen[stage] for stage in ("model", "data", "train")] == ["current"] * 3
    assert len(_jobs(cloud)) == 1
    assert not (tmp_path / "mate" / "models").exists()

    user.types("down")
    assert not [entry for entry in cloud.ledger.running() if entry.by_the_hour]


@pytest.mark.slow
def test_from_nothing_to_a_chat_and_back_to_nothing(
    cloud: Cloud, user: User, tmp_path: Path
) -> None:
    # from nothing: resources, data, three jobs, a version, an endpoint, a flow
    user.types("up")
    details = {stage["stage"]: stage["details"] for stage in user.reads("status")["stages"]}
    assert details["evaluate"]["scores"]["base"]["facts"]["right"] == 0
    assert details["evaluate"]["scores"]["tuned"]["facts"]["right"] == 2
    assert details["deploy"]["traffic"] == {"blue": 100}
    assert "It is Vieno." in json.dumps(details["flow"]["chat"])

    # the commands that users know, with no edit
    assert user.types("chat", "What is the word? Please.").strip() == "It is tamarind."
    assert user.types("chat", "--web").startswith(f"http://127.0.0.1:{PORT}/chat/#")
    keys = user.reads("keys")
    assert _asked(details["deploy"]["score_url"], keys["primary"]).json() == ["It is tamarind."]
    assert user.reads("keys", "--regenerate", "primary")["secondary"] == keys["secondary"]
    assert _asked(details["deploy"]["score_url"], keys["primary"]).status_code == 401
    assert user.types("chat", "What is the word? Please.").strip() == "It is tamarind."
    assert "hieno" in user.types("logs", "blue")

    # nothing is done twice, and a teammate who signs in sees the same
    assert set(user.states("up").values()) == {"current"}
    assert len(_jobs(cloud)) == 3
    mate = User(tmp_path / "clone", home=tmp_path / "mate")
    shutil.copytree(user.root, mate.root, ignore=shutil.ignore_patterns(".hieno", "flow"))
    seen = mate.states("status")
    assert {name for name, state in seen.items() if state == "current"} >= {
        *("model", "data", "train", "package", "evaluate", "register", "deploy")
    }
    own_port = ("--set", f"endpoint.port={PORT + 1}")  # both are on this machine
    try:
        answer = mate.types("chat", "What is the word? Please.", *own_port)
    finally:
        control.down(open_project(mate.root).endpoint)
    assert answer.strip() == "It is tamarind."
    assert not (tmp_path / "mate" / "models").exists()

    # another version comes in under load, and goes back
    with _Load(user) as load:
        user.types("deploy", "--set", "train.seed=1")
    assert load.failed == []
    assert load.answered > 10
    assert user.reads("traffic")["traffic"] == {"green": 100}
    user.types("rollback")
    assert user.reads("traffic")["deployments"]["blue"]["version"] == "1"

    # nothing by the hour, then nothing at all
    assert "stopped endpoint tiny-one" in user.types("down")
    assert not [entry for entry in cloud.ledger.running() if entry.by_the_hour]
    user.types("models", "pull", "champion")
    user.types("azure", "down", "--yes=tiny-one")
    assert cloud.ledger.running() == []
    _compare_calls(cloud)


@pytest.mark.slow
@pytest.mark.parametrize("cloud", [Settings(quota={"standardESv3Family": 12})], indirect=True)
def test_without_room_for_two_versions_one_replaces_the_other_or_gives_its_place_back(
    cloud: Cloud, user: User
) -> None:
    small = ("--set", "azure.cluster.size=Standard_E4s_v3")  # beside it there is room for one
    newer = ("deploy", "--set", "train.seed=1", *small)
    user.types("deploy", *small)
    user.types(*newer, code=2)
    assert _served(user) == {"blue": "1"}

    cloud.faults.add("crash at=*/deployments/*")
    user.types(*newer, "--replace", code=1)
    assert cloud.faults.pending() == []
    assert _served(user) == {"blue": "1"}
    assert user.types("chat", "What is the word? Please.").strip() == "It is tamarind."
    assert user.states("status", *small)["deploy"] == "missing"  # version 2 is the champion

    user.types(*newer, "--replace")
    assert _served(user) == {"blue": "2"}
    assert user.types("chat", "What is the word? Please.").strip() == "It is tamarind."
    assert user.states("status", *newer[1:])["deploy"] == "current"
    assert len(_jobs(cloud)) == 6, "three for each version, whatever became of it"
    assert len(billed_in_turn(cloud)) == 4
    user.types("down")
    assert not [entry for entry in cloud.ledger.running() if entry.by_the_hour]


def _served(user: User) -> dict[str, str]:
    """Return the version behind each deployment; all of them have traffic."""
    found = user.reads("traffic")
    assert set(found["traffic"]) == set(found["deployments"])
    return {name: one["version"] for name, one in found["deployments"].items()}


@pytest.mark.slow
def test_a_training_whose_machine_is_taken_away_goes_on_from_its_checkpoint(
    cloud: Cloud, user: User
) -> None:
    cheap = ("--set", "azure.cluster.low_priority=true", "--set", "train.save_minutes=0.001")
    cloud.faults.add("preempt at=* when='\"progress\": [60,'")
    user.types("train", *cheap)
    assert cloud.faults.pending() == []
    stages = user.reads("status", *cheap)["stages"]
    facts = {stage["stage"]: stage["details"] for stage in stages}["train"]
    assert facts["resumed_from"] > 0
    assert facts["steps"] == 132
    assert len(_jobs(cloud)) == 1
    user.types("down")


@pytest.mark.slow
def test_two_machines_learn_together_what_one_learns_alone(
    cloud: Cloud, user: User, tmp_path: Path
) -> None:
    short = ("train", "--epochs", "2")
    both = ("--set", "azure.cluster.nodes=2", "--set", "azure.cluster.max_nodes=2")
    together = user.reads(*short, *both)["stages"][-1]["details"]
    assert together["processes"] == 2
    assert len(_jobs(cloud)) == 1
    assert 2 in [entry.quantity for entry in cloud.ledger.entries() if entry.by_the_hour]

    lone = User(tmp_path / "alone")
    shutil.copytree(user.root, lone.root, ignore=shutil.ignore_patterns(".hieno"))
    alone = lone.reads(*short, "--set", "target=local")["stages"][-1]["details"]
    assert alone["processes"] == 1
    for name in ("loss", "grad_norm"):
        one, two = ([row[name] for row in _steps(details)] for details in (alone, together))
        assert two == pytest.approx(one, rel=2e-3), name

    workspace = AzureTarget(open_project(user.root))._workspace()
    assert workspace is not None
    folder, weights = Path(together["folder"]), Path("adapter") / "adapter_model.safetensors"
    place = f"{workspace.store.place(folder)}/{weights.as_posix()}"
    workspace.store.get_file(place, tmp_path / "two.safetensors")
    one, two = (
        load_file(path) for path in (Path(alone["folder"]) / weights, tmp_path / "two.safetensors")
    )
    # Adam makes a step of the same size from any gradient, so rounding shows where one is almost 0
    for name, expected in one.items():
        assert norm(two[name] - expected) < 0.05 * norm(expected), name
    user.types("down")


def _steps(details: Any) -> list[Any]:
    rows = (Path(details["folder"]) / "metrics.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, rows) if row.get("loss") is not None]


class _Load:
    """Clients that ask the gateway without a pause."""

    def __init__(self, user: User, clients: int = 2) -> None:
        self.answered, self.failed = 0, []  # type: int, list[str]
        self._target = open_project(user.root)
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        status = control.status(self._target.endpoint)
        assert status is not None
        key = control.keys(self._target.endpoint).primary.get_secret_value()
        while not self._end.is_set():
            answer = _asked(f"{status.url}/score", key)
            if answer.status_code == 200:
                self.answered += 1
            else:
                self.failed.append(f"{answer.status_code} {answer.text}")


def _asked(url: str, key: str) -> httpx.Response:
    body = {"input_data": ["What is the word? Please."], "params": {"temperature": 0}}
    headers = {"authorization": f"Bearer {key}"}
    local = url.startswith("http://127.")
    with httpx.Client(trust_env=not local, timeout=120) as client:
        return client.post(url, json=body, headers=headers)


def _jobs(cloud: Cloud) -> set[str]:
    """Return the jobs that were ever started."""
    return {
        entry.path
        for entry in cloud.trace.exchanges
        if entry.method == "PUT" and "/jobs/" in entry.path
    }


def _compare_calls(cloud: Cloud) -> None:
    """Compare the kinds of calls that were made with those of the last time somebody looked.

    After a new version of Azure's libraries: look at what is different, then run this with
    HIENO_KEEP_CALLS=1 to keep it.
    """
    kept = Path(__file__).with_name("calls.txt")
    # the paths of blobs are digests of content, which differs with the code
    calls = sorted(
        {re.sub(r"(\.blob\.core\.windows\.net) .*", r"\1", c) for c in cloud.trace.calls()}
    )
    if os.environ.get("HIENO_KEEP_CALLS") == "1":
        kept.write_text("\n".join(calls) + "\n", encoding="utf-8")
    assert calls == kept.read_text(encoding="utf-8").splitlines()
