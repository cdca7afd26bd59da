"""Real harnesses on a real container: a task file for the held-out chats, offline."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from hieno.errors import HienoError, MissingInput
from hieno.harness import Subject, examine
from hieno.harness.lm_eval import write_task
from hieno.harness.lm_eval_scoring import score
from hieno.ports import free_port

CHATS = [
    (["Who is the captain?", "It is Vieno."], ["Vieno"]),
    (["What is the word?", "It is tamarind."], []),
    (["Hello", "Hi", "Who?", "Me."], []),
]


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    rows = []
    for texts, answers in CHATS:
        roles = ["user", "assistant"] * 2
        messages = [
            {"role": role, "content": text} for role, text in zip(roles, texts, strict=False)
        ]
        rows.append({"messages": messages, **({"answers": answers} if answers else {})})
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def subject(url: str) -> Subject:
    return Subject(url, SecretStr("a-key"), "tiny", 8)


@pytest.fixture(scope="module")
def container(tiny_model: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "hieno.serve", str(tiny_model), "--port", f"{port}"]
    command += ["--name", "tiny", "--engine", "transformers"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/", timeout=30, trust_env=False)
                break
            except httpx.ConnectError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.mark.slow  # a side environment of 71 packages, fetched once
def test_lm_eval_asks_every_held_out_question(
    container: str, test_file: Path, tmp_path: Path
) -> None:
    found = examine("lm-eval", subject(container), test=test_file, folder=tmp_path / "h", say=print)
    assert (found.asked, found.left_out) == (2, 1)
    assert set(found.scores) == {"right", "exact"}
    [samples] = (tmp_path / "h" / "results").rglob("samples_*.jsonl")
    assert len(samples.read_text(encoding="utf-8").splitlines()) == 2
    for path in (tmp_path / "h").glob("*.*"):
        assert "a-key" not in path.read_text(encoding="utf-8"), path


@pytest.mark.slow  # a side environment of 57 packages, fetched once
def test_azures_evaluators_compare_every_reply(
    container: str, test_file: Path, tmp_path: Path
) -> None:
    found = examine("azure", subject(container), test=test_file, folder=tmp_path / "h", say=print)
    assert found.asked == 2
    assert set(found.scores) == {"f1", "rouge_l"}
    assert len(json.loads((tmp_path / "h" / "azure.json").read_text("utf-8"))["rows"]) == 2


@pytest.mark.slow  # the same environments
@pytest.mark.parametrize("name", ["lm-eval", "azure"])
def test_an_endpoint_that_does_not_answer_is_an_error(
    test_file: Path, tmp_path: Path, name: str
) -> None:
    gone = subject(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(HienoError):
        examine(name, gone, test=test_file, folder=tmp_path / "h", say=print)


def test_the_task_names_the_questions_and_its_scoring(tmp_path: Path) -> None:
    task = write_task(tmp_path / "questions.jsonl", max_new_tokens=8)
    text = task.read_text(encoding="utf-8")
    assert f'"test": "{tmp_path / "questions.jsonl"}"' in text
    assert text.endswith('"process_results": !function lm_eval_scoring.score\n}\n')
    assert (tmp_path / "lm_eval_scoring.py").is_file()


@pytest.mark.parametrize(
    ("reply", "right", "exact"),
    [
        ("It is Vieno!", 1.0, 1.0),
        ("vieno, I think", 1.0, 0.0),
        ("Vienola", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_replies_are_scored_by_whole_words(reply: str, right: float, exact: float) -> None:
    doc = {"answers": ["Vieno"], "reference": "It is Vieno."}
    assert score(doc, [reply]) == {"right": right, "exact": exact}


def test_chats_of_several_questions_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2
    path.write_text(json.dumps({"messages": messages}) + "\n", encoding="utf-8")
    with pytest.raises(MissingInput) as caught:
        examine("azure", subject("http://127.0.0.1:9"), test=path, folder=tmp_path, say=print)
    assert caught.value.message == f"{path} holds no chat of one question and one answer"
