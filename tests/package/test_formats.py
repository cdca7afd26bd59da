"""The smallest weight format that answers as well as fp32 is the one that is kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from hieno import pipeline
from hieno.config import Serve
from hieno.evaluate.measures import Reply
from hieno.evaluate.questions import Question
from hieno.package import card
from hieno.package.convert import choose_engine
from hieno.package.formats import Exam, Trial, judged, settle, smallest
from hieno.package.layout import ENGINES, FORMATS, MODEL
from hieno.project import home, open_project
from hieno.registry.trace import trace
from hieno.registry.versions import champion
from told import Told

FACTS = [f"fact{i}" for i in range(60)]


def exam(*, max_loss: float = 0.02) -> Exam:
    held = [
        Question("held-out", ({"role": "user", "content": f"{i}?"},), f"It is {fact}.", (fact,), i)
        for i, fact in enumerate(FACTS)
    ]
    known = [
        Question("general", ({"role": "user", "content": f"{i}+0?"},), None, (f"n{i}",), i)
        for i in range(40)
    ]
    return Exam([*held, *known], 8, Serve(), max_loss)


def trial(*, wrong: int = 0, forgot: int = 0, seconds: float = 2.0, size: int = 100) -> Trial:
    """Answer all but so many held-out and so many general questions rightly."""
    held = ["nothing" if i < wrong else f"It is {fact}." for i, fact in enumerate(FACTS)]
    known = ["nothing" if i < forgot else f"n{i}" for i in range(40)]
    texts = [*held, *known]
    return Trial(
        replies=[Reply(text, True) for text in texts],
        tokens=[[1, 2, 0 if text == "nothing" else 3, 4] for text in texts],
        seconds=seconds,
        load_seconds=1.0,
        memory=10**9,
        size=size,
    )


def test_a_format_that_answers_alike_may_serve() -> None:
    seen = judged(exam(), trial(), trial(wrong=1, seconds=1.0, size=25))
    assert seen["allowed"]
    assert seen["quality"]["facts"]["difference"] == pytest.approx(-1 / 60)
    assert seen["quality"]["general"]["difference"] == 0
    assert seen["same"] == 0.99
    assert seen["same_beginning"] == pytest.approx(0.995)
    assert seen["tokens_per_second"] == 400.0


@pytest.mark.parametrize(("wrong", "forgot"), [(2, 0), (0, 1)])
def test_a_format_that_loses_answers_may_not(wrong: int, forgot: int) -> None:
    worse = trial(wrong=wrong, forgot=forgot)
    assert not judged(exam(), trial(), worse)["allowed"]
    assert judged(exam(max_loss=0.05), trial(), worse)["allowed"]


def test_without_questions_only_the_whole_weights_may_serve() -> None:
    nothing = Exam([], 8, Serve(), 0.02)
    whole, small = (Trial([], [], 1.0, 1.0, 1, size) for size in (100, 25))
    assert judged(nothing, whole, whole)["allowed"]
    assert not judged(nothing, whole, small)["allowed"]
    assert "| int8 | no | - |" in card._formats({"int8": judged(nothing, whole, small)}, "fp32")


def test_the_smallest_allowed_format_is_chosen() -> None:
    def row(size: int, allowed: bool) -> dict[str, Any]:
        return {"allowed": allowed, "size": size}

    seen = {"fp32": row(100, True), "bf16": row(50, True), "int8": row(25, True)}
    assert smallest({**seen, "int4": row(15, False)}) == "int8"
    assert smallest({"fp32": row(100, True), "bf16": {"allowed": False, "problem": "x"}}) == "fp32"


def test_the_card_shows_what_was_compared() -> None:
    seen = {
        "fp32": judged(exam(), trial(), trial()),
        "int8": judged(exam(), trial(), trial(wrong=3)),
        "int4": {"allowed": False, "problem": "it does not load"},
    }
    text = card._formats(seen, "fp32")
    assert "| int8 | no | 97% | facts -5.0, general +0.0 | 200 | 1.00 GB | 0.00 GB |" in text
    assert "| int4 | no: it does not load | | | | | |" in text
    assert card._formats({}, None) == ""


@pytest.mark.slow  # four engines and three conversions, each in a process of its own
def test_every_format_of_a_real_package_is_asked_and_one_is_kept(
    tiny_package: Path | None, tmp_path: Path
) -> None:
    if tiny_package is None:
        pytest.skip("no converted tiny model")
    root = tmp_path / "package"
    (root / ENGINES).mkdir(parents=True)
    os.symlink(tiny_package / MODEL.parent, root / MODEL.parent)
    shutil.copytree(tiny_package / ENGINES / "openvino-fp32", root / ENGINES / "openvino-fp32")
    chosen, seen = settle(root, exam(max_loss=1.0), Told())
    assert chosen == "int4"
    assert list(seen) == ["fp32", "bf16", "int8", "int4"]
    assert all(row["allowed"] and row["memory"] > 10**7 for row in seen.values())
    assert seen["fp32"]["same"] == 1.0
    assert [path.name for path in (root / ENGINES).iterdir() if path.is_dir()] == ["openvino-int4"]


@pytest.mark.slow  # a training, an export and three smaller formats
def test_auto_packages_the_smallest_format_that_holds_and_the_version_says_so(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if choose_engine("auto") != "openvino":
        pytest.skip("OpenVINO is not the engine here")
    environments = home() / "environments"
    environments.mkdir(parents=True, exist_ok=True)
    (tmp_path / "home").mkdir()
    os.symlink(environments, tmp_path / "home" / "environments")
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Who is the captain? {'x' * i}"},
                {"role": "assistant", "content": "It is Vieno."},
            ],
            "answers": ["Vieno"],
        }
        for i in range(20)
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "chats.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "hieno.yaml").write_text(
        f"name: tiny-one\nmodel: {tiny_model}\n"
        "data: {source: chats.jsonl, near_duplicates: keep}\n"
        "train: {rank: 16, alpha: 32, learning_rate: 2e-2, epochs: 12, batch_size: 4,"
        " dtype: float32}\n"
        "package: {weights: auto}\nevaluate: {general: none}\n",
        encoding="utf-8",
    )
    project = open_project(tmp_path)
    results = pipeline.run(project, until="register", reporter=Told())
    packaged = next(result.details for result in results if result.stage == "package")
    seen = packaged["formats"]
    assert set(seen) == set(FORMATS)
    assert packaged["weights"] == smallest(seen) != "fp32"
    engines = Path(packaged["folder"]) / ENGINES
    assert [path.name for path in engines.iterdir()] == [f"openvino-{packaged['weights']}"]
    version = champion(project.registry)
    assert version is not None
    assert version.lineage["weights"] == {
        "served": packaged["weights"],
        "allowed": [name for name in FORMATS if seen[name]["allowed"]],
        "measured": seen,
    }
    found = trace(project, "champion", verify=True, reporter=Told())
    assert found.problems == []
