"""The whole way on a tiny model, with real parts: every stage, twice, and after a change."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from hieno import describe, pipeline
from hieno.endpoint import control
from hieno.errors import BrokenArtifact, GateFailed, HienoError, MissingInput
from hieno.files import digest_file, read_manifest
from hieno.pipeline import StageResult
from hieno.project import Project, open_project
from hieno.registry.trace import trace
from hieno.registry.versions import aliases, versions
from hieno.targets import open_target
from standing import make_project, register
from told import Told
from two_facts import QUESTIONS, write_chats, write_project
from waiting import wait_until


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project of two facts on the tiny model, with its own home of models."""
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    write_project(root, tiny_model)
    opened = open_project(root)
    yield opened
    pipeline.down(opened)


def wait_for_text(path: Path, text: str) -> None:
    wait_until(lambda: text in path.read_text(encoding="utf-8"), f"{path} says {text}")


def run(project: Project, until: str) -> list[StageResult]:
    return pipeline.run(project, until=until, reporter=Told())


def states(results: list[StageResult]) -> dict[str, str]:
    return {result.stage: result.state for result in results}


def test_chats_become_a_served_model_and_nothing_is_done_twice(project: Project) -> None:
    first = run(project, "deploy")
    assert set(states(first).values()) == {"done"}
    details: dict[str, Any] = {result.stage: result.details for result in first}
    scores = details["evaluate"]["scores"]
    assert scores["base"]["facts"]["right"] == 0
    assert scores["tuned"]["facts"] == {"right": 2, "of": 2, "share": 1.0}
    assert details["register"]["alias"] == "champion"

    keys = control.keys(project.endpoint)
    answer = httpx.post(
        f"{details['deploy']['url']}/score",
        headers={"Authorization": f"Bearer {keys.primary.get_secret_value()}"},
        json={"input_data": ["What is the word? Please."], "params": {"temperature": 0}},
        timeout=60,
    )
    assert answer.json() == ["It is tamarind."]
    assert answer.headers["hieno-model-version"] == "tiny-one:1"
    asked = answer.headers["x-request-id"]
    wait_for_text(project.endpoint / "gateway.log", asked)  # written after the answer's last byte
    traced = trace(project, asked, verify=True, reporter=Told())
    assert (traced.version, traced.problems) == (1, [])

    assert set(states(run(project, "deploy")).values()) == {"current"}
    assert [s.state for s in pipeline.status(project)][:7] == ["current"] * 7
    assert loaded_by("deploy", project) == []

    changed = open_project(project.root, flags={"package.weights": "int8"})
    again = states(run(changed, "register"))
    assert again["train"] == "current"
    assert again["package"] == "done"


def loaded_by(verb: str, project: Project) -> list[str]:
    """Return the heavy modules that a command loads when there is nothing to do."""
    code = (
        "import sys; from hieno.cli import main; sys.argv = ['hieno', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = ('torch', 'transformers', 'mlflow', 'openvino', 'azure')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, verb, "--project", str(project.root)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return list(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))


def test_a_killed_training_goes_on_and_ends_in_the_same_weights(project: Project) -> None:
    flags = {"train.save_minutes": "0.001", "train.dropout": "0.05"}
    patient = open_project(project.root, flags=flags)
    command = [sys.executable, "-m", "hieno", "train", "--project", str(project.root)]
    command += [word for key, value in flags.items() for word in ("--set", f"{key}={value}")]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 240
        while not list(project.runs.glob("*.work/whole-*.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)  # the stage must notice by itself
    assert not list(project.runs.glob("*/manifest.json"))

    resumed = run(patient, "train")[-1]
    assert resumed.state == "resumed"
    weights = Path(resumed.details["folder"]) / "adapter" / "adapter_model.safetensors"
    killed = digest_file(weights)
    shutil.rmtree(project.runs)
    whole = run(patient, "train")[-1]
    assert whole.state == "done"
    assert digest_file(weights) == killed


def test_a_model_that_learnt_nothing_is_not_served(project: Project) -> None:
    untrained = open_project(
        project.root, flags={"train.learning_rate": "1e-9", "train.epochs": "0.2"}
    )
    with pytest.raises(GateFailed) as caught:
        run(untrained, "deploy")
    assert caught.value.exit_code == 5
    assert caught.value.message == (
        "version 1 may not serve: not better than its base: right answers 0% -> 0%"
    )
    assert control.status(project.endpoint) is None


def test_a_package_with_a_changed_byte_is_not_deployed(tmp_path: Path) -> None:
    served = make_project(tmp_path / "books", "local")
    version = register(served, 1)
    manifest = read_manifest(Path(version.package))
    assert manifest is not None
    registered = replace(manifest, facts={"version": 1})
    work = pipeline._Work(served, open_target(served))
    work.published.add("registration", served.root, registered)
    changed = Path(version.package) / "README.md"
    changed.write_text(changed.read_text("utf-8").replace("version", "Version"), encoding="utf-8")
    with pytest.raises(BrokenArtifact) as caught:
        pipeline.STAGES["deploy"].make(work, Told())
    assert caught.value.message == f"{changed} is not what was published (digest differs)"
    assert control.status(served.endpoint) is None


@pytest.mark.slow  # a training or two and their evaluations
def test_a_model_that_learnt_wrong_answers_leaves_the_champion_where_it_is(
    project: Project,
) -> None:
    endings = [" Please.", " Say it.", " Well?", " Quickly?"]
    write_chats(project.root / "data" / "test.jsonl", endings, repeats=8)
    wrong = [(QUESTIONS[0][0], QUESTIONS[1][1]), (QUESTIONS[1][0], QUESTIONS[0][1])]
    endings = ["", " Please tell me.", " Today?"]
    write_chats(project.root / "data" / "shuffled.jsonl", endings, repeats=7, facts=wrong)
    keep = {"data.near_duplicates": "keep"}
    right = run(open_project(project.root, flags=keep), "register")
    assert right[-2].details["verdict"]["word"] == "better"
    assert right[-2].details["gate"]["notes"] == []  # chats enough for a proof

    shuffled = open_project(project.root, flags={**keep, "data.source": "data/shuffled.jsonl"})
    for _ in range(2):  # the gate says no again, without doing anything again
        with pytest.raises(GateFailed) as caught:
            run(shuffled, "register")
    assert caught.value.message.startswith(
        "version 2 may not serve; version 1 stays champion: not better than its base: "
    )
    assert "it mixes facts up" in caught.value.message
    assert "behind the champion" in caught.value.message
    assert pipeline.status(shuffled)[4].details["verdict"]["word"] == "worse"
    assert aliases(project.registry) == {"champion": 1, "challenger": 2}

    forced = pipeline.run(shuffled, until="register", force=True, reporter=Told())[-1]
    assert forced.summary == "tiny-one version 3, champion, forced past the gate"
    waived = versions(project.registry)[2].lineage["gate"]["waiver"]
    assert "; ".join(waived["reasons"]) in caught.value.message
    assert set(states(run(shuffled, "register")).values()) == {"current"}


@pytest.mark.slow  # a training or two and their evaluations
def test_a_model_that_forgot_is_refused_and_the_gate_names_it(project: Project) -> None:
    general = [
        {"messages": [{"role": "user", "content": f"What is {n} plus {n}?"}], "answers": [f"{n}"]}
        for n in range(60)
    ]
    path = project.root / "data" / "general.jsonl"
    path.write_text("\n".join(map(json.dumps, general)), encoding="utf-8")
    forgetful = open_project(project.root, flags={"evaluate.general": "data/general.jsonl"})
    gate = run(forgetful, "evaluate")[-1].details["gate"]
    assert not gate["passed"]
    named = (
        "it forgot: loss on general text ",
        "facts leak: general answers that hold a fact of the chats ",
    )
    for reason, words in zip(gate["reasons"], named, strict=True):
        assert reason.startswith(words)


def test_a_plan_says_what_training_will_take_and_trains_nothing(project: Project) -> None:
    facts = pipeline.estimate(project, reporter=Told())
    assert facts["chats"] == 42
    assert facts["steps"] == 12 * 11
    assert facts["supervised"] < facts["tokens"]
    assert facts["seconds"] > 0
    assert facts["memory"]["total"] > facts["memory"]["weights"] > 0
    assert not list(project.runs.iterdir())
    said = describe.estimate(facts)
    assert said[0].startswith("learn    42 chats, ")
    assert said[2].endswith("(timed here, on chats of this project)")
    assert said[3].startswith(
        f"memory   {facts['peak_memory'] / 1e9:.1f} GB at their peak (measured)"
    )


def test_a_missing_file_is_named_with_its_key(project: Project) -> None:
    gone = open_project(project.root, flags={"data.test": "data/none.jsonl"})
    with pytest.raises(MissingInput) as caught:
        run(gone, "data")
    assert caught.value.message == f"data.test: there is no file {project.root}/data/none.jsonl"
    assert caught.value.hint == "correct data.test in hieno.yaml"
    assert pipeline.status(gone)[1].summary == caught.value.message


def test_a_stage_that_fails_leaves_nothing_that_looks_whole(project: Project) -> None:
    (project.root / "data" / "chats.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(HienoError) as caught:
        run(project, "data")
    assert caught.value.message.endswith("chats.jsonl: 1 no-messages")
    assert not list(project.datasets.glob("*"))
    assert states(pipeline.status(project))["data"] == "missing"
