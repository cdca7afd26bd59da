"""What the models are asked: every turn of the held-out chats, and general questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard  # Any: rows of JSONL

from hieno.data.chats import json_rows
from hieno.errors import BadRow
from hieno.evaluate import forms
from hieno.files import read_jsonl
from hieno.templates.rendering import learnt

SHIPPED = Path(__file__).with_name("general.jsonl")
TEXTS = Path(__file__).with_name("texts.jsonl")


@dataclass(frozen=True)
class Question:
    """One prompt with what is known about its right reply.

    `unit` numbers the chat that it is a turn of, or the general question: what belongs to one
    unit is not independent of each other. `form` is what a reply must look like, and `fits` tells
    whether the reference is short enough for a reply to end by itself.
    """

    kind: str  # "held-out" or "general"
    prompt: tuple[dict[str, str], ...]
    reference: str | None
    answers: tuple[str, ...]
    unit: int = 0
    topic: str = ""
    form: Mapping[str, Any] = field(default_factory=dict)
    fits: bool = True

    @property
    def checkable(self) -> bool:
        """Tell whether a reply is right or wrong, and not only more or less like the reference."""
        return bool(self.answers or self.form)


def held_out(path: Path, *, fits: Callable[[str], bool] = lambda reply: True) -> list[Question]:
    """Return each turn of the held-out chats, with everything said before it.

    What was said before is the chat's own, not a model's. A chat's `answers` are those to its
    last question. Turns of weight 0 are shown and not asked.
    """
    questions = []
    for unit, row in enumerate(read_jsonl(path)):
        messages = row["messages"]
        for place, message in enumerate(messages):
            if message["role"] != "assistant" or not learnt(message):
                continue
            last = place == len(messages) - 1
            questions.append(
                Question(
                    "held-out",
                    tuple(_said(earlier) for earlier in messages[:place]),
                    message["content"],
                    tuple(row.get("answers", ())) if last else (),
                    unit=unit,
                    fits=fits(message["content"]),
                )
            )
    return questions


def general(path: Path) -> list[Question]:
    """Return general questions: JSONL rows of `messages` (the question) with `answers` or `form`.

    Raises `BadRow` for a row that is none, and for a form that nobody can check.
    """
    questions: list[Question] = []
    for line, row in json_rows(path, key="evaluate.general"):
        messages, answers, form = row.get("messages"), row.get("answers", []), row.get("form", {})
        if not _is_question(messages) or not _are_answers(answers) or not (answers or form):
            raise BadRow(
                path,
                line=line,
                problem="not a general question",
                hint='write {"messages": [{"role": "user", "content": ...}], "answers": [...]}',
            )
        if problem := forms.problem(form):
            raise BadRow(
                path, line=line, problem=problem, hint=f"forms are {', '.join(forms.KNOWN)}"
            )
        questions.append(
            Question(
                "general",
                tuple(messages),
                None,
                tuple(answers),
                unit=len(questions),
                topic=str(row.get("topic", "")),
                form=form,
            )
        )
    return questions


def texts(path: Path = TEXTS) -> list[str]:
    """Return the plain texts on which the loss tells how much language a model has kept."""
    return [row["text"] for row in read_jsonl(path)]


def _said(message: Mapping[str, str]) -> dict[str, str]:
    return {"role": message["role"], "content": message["content"]}


def _is_question(messages: object) -> TypeGuard[list[dict[str, str]]]:
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in messages)
        and messages[-1].get("role") == "user"
    )


def _are_answers(answers: object) -> TypeGuard[list[str]]:
    return isinstance(answers, list) and all(isinstance(a, str) and a.strip() for a in answers)
