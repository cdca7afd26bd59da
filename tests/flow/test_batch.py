"""Batches through the real prompt flow and the real Agent Framework, with a stand-in endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from endpoint import KEY, Endpoint, Reply
from hieno import flow
from hieno.cli.commands import hieno
from hieno.errors import BadData, Busy, HienoError
from hieno.evaluate import scoring
from hieno.flow import batch, report
from hieno.flow.frameworks import FRAMEWORKS
from hieno.flow.results import Answered, Batch
from hieno.flow.rows import Row
from hieno.flow.shape import Shape

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "hieno.yaml").write_text("name: my-model\nmodel: demo\n", encoding="utf-8")
    for name, framework in FRAMEWORKS.items():
        folder = tmp_path / ("flow" if name == "promptflow" else "agent")
        flow.init(folder, name="my-model", framework=framework)
    return tmp_path


@pytest.fixture
def call(
    project: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    monkeypatch.setenv("HIENO_ENDPOINT", endpoint.url)
    monkeypatch.setenv("HIENO_API_KEY", KEY)
    monkeypatch.chdir(project)
    return lambda *typed: CliRunner().invoke(hieno, ["flow", *map(str, typed)])


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def counts(result: Result) -> tuple[int, ...]:
    document = json.loads(result.stdout)
    return tuple(document[key] for key in ("lines", "answered", "failed", "unasked", "earlier"))


@pytest.mark.parametrize(
    "framework", ["promptflow", pytest.param("agent-framework", marks=pytest.mark.slow)]
)
def test_failed_lines_are_counted_and_only_they_are_asked_again(
    call: Callable[..., Result], project: Path, endpoint: Endpoint, framework: str
) -> None:
    data = write(
        project / "data.jsonl", *({"question": f"q{n}"} for n in range(6)), {"question": ""}
    )
    endpoint.replies.extend([Reply(status=400, body="no")] * 3)
    typed = ("run", data, "--json", "--framework", framework, "--workers", 1)
    first = call(*typed, "--retries", 0)
    assert (counts(first), first.exit_code) == ((7, 3, 4, 0, 0), 1)
    assert len(endpoint.requests) == 6  # the empty one does not reach the endpoint
    second = call(*typed)
    assert (counts(second), second.exit_code) == ((7, 6, 1, 0, 3), 1)
    assert len(endpoint.requests) == 9
    answers = Path(json.loads(second.stdout)["answers"])
    told = {each["line"]: each for each in map(json.loads, answers.read_text("utf-8").splitlines())}
    assert told[2]["outputs"] == {"answer": "1 messages, the last is q1"}
    assert "the question is empty" in told[7]["error"]
    page = answers.with_name("report.html").read_text(encoding="utf-8")
    assert "6 of 7 lines answered" in page
    assert "the question is empty" in page


def test_a_finished_batch_asks_nothing_and_a_killed_one_what_is_missing(
    call: Callable[..., Result], project: Path, endpoint: Endpoint
) -> None:
    data = write(project / "data.jsonl", {"question": "a"}, {"question": "b"})
    endpoint.replies.append(Reply(status=400, body="once"))
    typed = ("run", data, "--json")
    done = call(*typed)  # the line that fails is asked a second time
    assert (counts(done), done.exit_code) == ((2, 2, 0, 0, 0), 0)
    assert len(endpoint.requests) == 3
    assert counts(call(*typed)) == (2, 2, 0, 0, 2)
    assert len(endpoint.requests) == 3
    assert counts(call(*typed, "--fresh")) == (2, 2, 0, 0, 0)
    assert len(endpoint.requests) == 5
    answers = Path(json.loads(done.stdout)["answers"])
    whole = answers.read_bytes().splitlines(keepends=True)
    answers.write_bytes(whole[0] + whole[1][:20])  # as a kill leaves it
    assert counts(call(*typed)) == (2, 2, 0, 0, 1)
    assert len(endpoint.requests) == 6


def test_a_batch_gives_up_where_nothing_answers(
    call: Callable[..., Result], project: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIENO_API_KEY", "wrong")
    data = write(project / "data.jsonl", *({"question": f"q{n}"} for n in range(40)))
    result = call("run", data, "--json", "--retries", 0, "--workers", 1)
    assert (counts(result), result.exit_code) == ((40, 0, 20, 20, 0), 1)
    assert "gave up: 20 lines in a row failed, 20 were left" in result.stderr


def test_an_evaluation_scores_as_hieno_does_and_counts_what_failed_as_wrong(
    call: Callable[..., Result], project: Path, endpoint: Endpoint
) -> None:
    said = ["The keeper is Ann.", "It is in the harbour!", "No idea"]
    truths = ["Ann is the keeper.", "In the harbour, of course", "Twelve"]
    rows = [
        {"question": text, "ground_truth": truth, "answers": [truth.split()[0]]}
        for text, truth in zip(said, truths, strict=True)
    ]
    data = write(
        project / "data.jsonl", *rows, {"question": "", "ground_truth": "x"}, {"question": "free"}
    )
    endpoint.replies.extend(Reply(pieces=[text]) for text in said)
    result = call("evaluate", data, "--json", "--workers", 1, "--retries", 0)
    document = json.loads(result.stdout)
    assert result.exit_code == 1  # one line has no answer
    scores = [scoring.token_f1(*pair) for pair in zip(said, truths, strict=True)]
    assert document["metrics"]["f1"] == pytest.approx(sum(scores) / 4)
    assert document["metrics"]["right"] == pytest.approx(2 / 3)
    assert (document["metrics"]["lines"], document["unscored"]) == (4, 1)
    page = Path(document["report"]).read_text(encoding="utf-8")
    assert f"<td class=n>{document['metrics']['f1']:.3f}</td>" in page


def test_a_batch_without_expectations_cannot_be_scored(tmp_path: Path) -> None:
    flow.init(tmp_path, name="my-model")
    empty = Batch(tmp_path, Shape("question", None, "answer"), [Row(1, {})], {})
    with pytest.raises(BadData, match="no line of the batch says what is expected"):
        flow.evaluate(tmp_path / "evaluation", empty, say=print)


def test_two_commands_do_not_ask_the_same_batch(tmp_path: Path) -> None:
    with batch._alone(tmp_path), pytest.raises(Busy), batch._alone(tmp_path):
        pytest.fail("both hold it")


@pytest.mark.parametrize(
    ("framework", "file", "code"),
    [
        ("promptflow", "chat_node.py", "import os\n\nos._exit(3)\n"),
        ("agent-framework", "agent.py", "("),
    ],
)
def test_a_flow_that_does_not_load_is_an_error_with_its_reason(
    call: Callable[..., Result], project: Path, framework: str, file: str, code: str
) -> None:
    data = write(project / "data.jsonl", {"question": "a"})
    folder = project / ("flow" if framework == "promptflow" else "agent")
    (folder / file).write_text(code, encoding="utf-8")
    result = call("run", data, "--framework", framework, "--json")
    error = json.loads(result.stdout)["error"]
    assert result.exit_code == 1
    assert "ended by itself" in error["message"] or "does not load: SyntaxError" in error["message"]


def test_a_report_shows_hostile_answers_as_text(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    shape = Shape("question", None, "answer")
    result = Answered(1, {"answer": bad}, None, 0.5, 1)
    done = Batch(tmp_path, shape, [Row(1, {"question": bad}, bad)], {1: result})
    failed = replace(done, results={1: replace(result, outputs=None, error=bad)})
    for each in (done, failed, replace(done, results={})):
        page = report.page(each, bad, {bad: bad})
        assert "<script" not in page
        assert "<img" not in page
    assert "default-src 'none'" in page


def test_a_question_that_no_input_takes_is_refused_before_anything_runs(
    project: Path, endpoint: Endpoint
) -> None:
    dag = project / "flow/flow.dag.yaml"
    text = dag.read_text(encoding="utf-8").replace("    is_chat_input: true\n", "")
    dag.write_text(text, encoding="utf-8")
    with pytest.raises(HienoError, match="no input is marked as the chat's"):
        flow.test(project / "flow", endpoint.url, SecretStr(KEY), say=print)
