"""The stage `evaluate`: publish how a tuned model stands to its base and to the champion."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any  # rows of JSONL

from hieno.config import Evaluate, Gate, Serve
from hieno.evaluate import gate
from hieno.evaluate.answers import Exam, Heard, hear
from hieno.evaluate.comparison import differences, score_of, scores
from hieno.evaluate.examples import spread
from hieno.evaluate.intervals import Sample
from hieno.evaluate.judge import Judge, Pair, preferences
from hieno.evaluate.measures import facts_of, is_right, samples
from hieno.evaluate.questions import SHIPPED, Question, general, held_out, texts
from hieno.evaluate.report import write_report
from hieno.files import read_jsonl, read_manifest, write_json
from hieno.package.layout import weights_folder
from hieno.reporting import Reporter
from hieno.stages import StagePlan, publish

SCHEMA = 1  # of report.json
KEPT = ("scores", "counts", "verdict", "gate", "score", "champion")  # of it in the manifest
ROLES = {"base": "base", "tuned": "package", "champion": "champion"}


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Ask the models the same; publish the report as a page and as JSON, and every answer.

    `inputs` are base, dataset, package, and the champion's package where there is another one.
    """
    exam, champion = _exam(plan), plan.settings["champion"]
    # a package has one format; of the base the cache may hold several, of other projects too
    exams = {"base": replace(exam, weights=plan.settings["weights"])}
    models = [model for model, role in ROLES.items() if role in plan.inputs]
    kept = Path(plan.output).parent / "replies"
    heard = {
        model: hear(
            plan.input(ROLES[model]),
            plan.digests[ROLES[model]],
            exams.get(model, exam),
            kept,
            model,
            reporter,
        )
        for model in models
    }
    if champion and not champion["same_base"]:  # losses are for each token, of one vocabulary
        heard["champion"] = replace(heard["champion"], chats={}, texts={})
    report = judged(exam.questions, heard, Gate.model_validate(plan.settings["gate"]))
    report["champion"] = champion and champion["version"]
    report["judge"] = _judged(plan, exam.questions, heard, kept, reporter)
    rows = side_by_side(exam.questions, heard)
    with publish(plan, "evaluation") as (folder, facts):
        write_json(folder / "report.json", report)
        _write_rows(folder / "answers.jsonl", rows)
        _write_rows(folder / "examples.jsonl", spread([r for r in rows if r["kind"] == "held-out"]))
        write_report(
            folder / "report.html",
            report,
            rows,
            package=_facts(plan.input("package")),
            metrics=list(read_jsonl(plan.input("run") / "metrics.jsonl")),
        )
        facts.update({name: report[name] for name in KEPT})


def judged(
    questions: Sequence[Question], heard: Mapping[str, Heard], settings: Gate
) -> dict[str, Any]:
    """Return the report: each model's scores, the tuned one's differences, verdict and gate."""
    facts = facts_of(questions)
    found: dict[str, dict[str, Sample]] = {}
    for model, said in heard.items():
        found[model] = samples(questions, said.replies, facts)
        found[model] |= {"loss": said.chats, "text_loss": said.texts}
    others = [model for model in heard if model != "tuned"]
    against = {model: differences(found[model], found["tuned"]) for model in others}
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "models": list(heard),
        "counts": _counts(questions, heard["tuned"]),
        "scores": {model: scores(sample) for model, sample in found.items()},
        "differences": against,
    }
    judgement = gate.judge(report["scores"], against, settings)
    report["verdict"] = {"word": judgement.word, "sentence": judgement.sentence}
    report["gate"] = {
        "passed": judgement.passed,
        "reasons": list(judgement.reasons),
        "notes": list(judgement.notes),
        "settings": settings.model_dump(),
    }
    score = score_of(report)
    report["score"] = None if math.isnan(score) else round(score, 6)
    return report


def side_by_side(questions: Sequence[Question], heard: Mapping[str, Heard]) -> list[dict[str, Any]]:
    """Return a row for each question, with every model's reply and whether it is right."""
    facts = facts_of(questions)
    rows = []
    for index, question in enumerate(questions):
        row: dict[str, Any] = {
            "kind": question.kind,
            "unit": question.unit,
            "topic": question.topic,
            "messages": list(question.prompt),
            "reference": question.reference,
            "answers": list(question.answers),
            "form": dict(question.form),
        }
        for model, said in heard.items():
            reply = said.replies[index]
            right = is_right(question, reply.text, facts) if question.checkable else None
            row[model] = {"reply": reply.text, "right": right, "stopped": reply.stopped}
            if question.kind == "general":
                row[model]["leaked"] = facts.named(reply.text, besides=question.answers)
        rows.append(row)
    return rows


def _judged(
    plan: StagePlan,
    questions: Sequence[Question],
    heard: Mapping[str, Heard],
    kept: Path,
    reporter: Reporter,
) -> dict[str, Any] | None:
    settings = Evaluate.model_validate(plan.settings["evaluate"])
    if settings.judge_url is None:
        return None
    said = zip(questions, heard["base"].replies, heard["tuned"].replies, strict=True)
    pairs = [
        Pair(question.prompt, question.reference or "", before.text, after.text)
        for question, before, after in said
        if question.kind == "held-out"
    ]
    return preferences(
        spread(pairs, settings.judge_questions),
        Judge.named(settings.judge_url, settings.judge_model),
        kept,
        on_progress=lambda done, total: reporter.progress(done, total, "pairs", "asking the judge"),
    )


def _exam(plan: StagePlan) -> Exam:
    settings = Evaluate.model_validate(plan.settings["evaluate"])
    test = plan.input("dataset") / "test.jsonl"
    asked = held_out(test, fits=_fits(plan.input("base"), settings.max_new_tokens))
    if settings.general != "none":
        named = plan.settings["general"]
        asked += general(Path(named) if named else SHIPPED)
    return Exam(
        questions=asked,
        chats=[row["messages"] for row in read_jsonl(test)],
        texts=texts() if settings.general != "none" else [],
        max_new_tokens=settings.max_new_tokens,
        engine=plan.settings["engine"],
        serve=Serve.model_validate(plan.settings["serve"]),
    )


def _fits(base: Path, most: int) -> Callable[[str], bool]:
    from hieno.templates import encode_text, load_tokenizer

    tokenizer = load_tokenizer(weights_folder(base))
    return lambda text: len(encode_text(tokenizer, text)) < most


def _facts(package: Path) -> Mapping[str, Any]:
    manifest = read_manifest(package)
    if manifest is None:  # verified before the stage started
        raise AssertionError("the package is a published folder")
    return manifest.facts


def _counts(questions: Sequence[Question], tuned: Heard) -> dict[str, int]:
    asked = [question for question in questions if question.kind == "held-out"]
    return {
        "chats": len({question.unit for question in asked}),
        "turns": len(asked),
        "general": len(questions) - len(asked),
        "texts": len(tuned.texts),
    }


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
