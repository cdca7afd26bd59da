"""The stage `evaluate`: publish what base and tuned model answer, and who is right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard  # Any: rows of JSONL

from hieno.config import Evaluate, Serve
from hieno.data.chats import json_rows
from hieno.errors import BadRow
from hieno.evaluate.scoring import holds, is_right, token_f1
from hieno.files import read_jsonl, write_json
from hieno.reporting import Reporter
from hieno.stages import StagePlan, publish

MODELS = ("base", "tuned")


@dataclass(frozen=True)
class Question:
    """One prompt with what is known about its right reply."""

    kind: str  # "held-out" or "general"
    prompt: tuple[dict[str, str], ...]
    reference: str | None
    answers: tuple[str, ...]


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Ask both models the same questions and publish `report.json` and `answers.jsonl`."""
    settings = Evaluate.model_validate(plan.settings["evaluate"])
    questions = held_out(plan.input("dataset") / "test.jsonl")
    if plan.settings["general"]:
        questions += general(Path(plan.settings["general"]))
    roots = {"base": plan.input("base"), "tuned": plan.input("package")}
    replies = {model: _ask(root, questions, model, plan, reporter) for model, root in roots.items()}
    with publish(plan, "evaluation") as (folder, facts):
        scores = {model: score(questions, replies[model]) for model in MODELS}
        with (folder / "answers.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for row in _side_by_side(questions, replies):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        write_json(folder / "report.json", scores)
        facts["scores"] = scores
        facts["better"] = is_better(scores["tuned"], scores["base"])
        facts["shown"] = _examples(questions, replies, settings.show)


def held_out(path: Path) -> list[Question]:
    """Return the last question of each held-out chat, with everything said before it."""
    return [
        Question(
            "held-out",
            tuple(row["messages"][:-1]),
            row["messages"][-1]["content"],
            tuple(row.get("answers", ())),
        )
        for row in read_jsonl(path)
    ]


def general(path: Path) -> list[Question]:
    """Return general questions: JSONL rows of `messages` (the question) and `answers`."""
    questions = []
    for line, row in json_rows(path, key="evaluate.general"):
        messages, answers = row.get("messages"), row.get("answers")
        if not _is_question(messages) or not _are_answers(answers):
            raise BadRow(
                path,
                line=line,
                problem="not a general question",
                hint='write {"messages": [{"role": "user", "content": ...}], "answers": [...]}',
            )
        questions.append(Question("general", tuple(messages), None, tuple(answers)))
    return questions


def score(questions: Sequence[Question], replies: Sequence[str]) -> dict[str, Any]:
    """Return counts and shares for one model.

    `bleed` counts general questions whose reply holds the answer to a held-out question.
    """
    domain = {a for q in questions if q.kind == "held-out" for a in q.answers}
    pairs = list(zip(questions, replies, strict=True))
    facts = [(q, r) for q, r in pairs if q.kind == "held-out" and q.answers]
    known = [(q, r) for q, r in pairs if q.kind == "general"]
    referenced = [(q.reference, r) for q, r in pairs if q.reference]
    overlap = [token_f1(reply, reference) for reference, reply in referenced]
    return {
        "facts": _share(sum(is_right(r, q.answers, domain) for q, r in facts), len(facts)),
        "general": _share(sum(is_right(r, q.answers) for q, r in known), len(known)),
        "bleed": sum(any(holds(r, a) for a in domain) for _, r in known),
        "token_f1": round(sum(overlap) / len(overlap), 4) if overlap else None,
    }


def is_better(tuned: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    """Tell whether the tuned model does better on the held-out chats.

    By right answers where the chats name them, else by the words shared with the reference.
    """
    if tuned["facts"]["of"]:
        return bool(tuned["facts"]["right"] > base["facts"]["right"])
    if tuned["token_f1"] is None:
        return True
    return bool(tuned["token_f1"] > base["token_f1"])


def _ask(
    root: Path,
    questions: Sequence[Question],
    model: str,
    plan: StagePlan,
    reporter: Reporter,
) -> list[str]:
    from hieno.serve.batch import answer_chats

    completions = answer_chats(
        root,
        [question.prompt for question in questions],
        max_new_tokens=plan.settings["evaluate"]["max_new_tokens"],
        engine=plan.settings["engine"],
        settings=Serve.model_validate(plan.settings["serve"]),
        on_progress=lambda done, total: reporter.progress(
            done, total, "answers", f"asking the {model} model"
        ),
    )
    return [completion.text.strip() for completion in completions]


def _is_question(messages: object) -> TypeGuard[list[dict[str, str]]]:
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in messages)
        and messages[-1].get("role") == "user"
    )


def _are_answers(answers: object) -> TypeGuard[list[str]]:
    return isinstance(answers, list) and bool(answers) and all(isinstance(a, str) for a in answers)


def _share(right: int, of: int) -> dict[str, Any]:
    return {"right": right, "of": of, "share": round(right / of, 4) if of else None}


def _side_by_side(
    questions: Sequence[Question], replies: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    domain = {a for q in questions if q.kind == "held-out" for a in q.answers}
    rows = []
    for index, question in enumerate(questions):
        others = domain if question.kind == "held-out" else ()
        row: dict[str, Any] = {
            "kind": question.kind,
            "messages": list(question.prompt),
            "reference": question.reference,
            "answers": list(question.answers),
        }
        for model in MODELS:
            reply = replies[model][index]
            right = is_right(reply, question.answers, others) if question.answers else None
            row[model] = {"reply": reply, "right": right}
        rows.append(row)
    return rows


def _examples(
    questions: Sequence[Question], replies: Mapping[str, Sequence[str]], count: int
) -> list[dict[str, str]]:
    asked = [i for i, question in enumerate(questions) if question.kind == "held-out"]
    return [
        {
            "question": questions[i].prompt[-1]["content"],
            **{model: replies[model][i] for model in MODELS},
        }
        for i in asked[:: max(1, len(asked) // max(1, count))][:count]
    ]
