"""What is measured of a model: each reply's values, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hieno.evaluate import forms, scoring
from hieno.evaluate.intervals import Sample
from hieno.evaluate.questions import Question
from hieno.evaluate.scoring import Facts


@dataclass(frozen=True)
class Measure:
    """One number of a model; `better` says which way is good, `unit` how it is shown."""

    name: str
    label: str
    on: Literal["held-out", "general", "text"]
    better: Literal["higher", "lower", ""]
    unit: Literal["share", "number", "nats"]
    yes_no: bool = False


MEASURES = tuple(
    Measure(*fields)
    for fields in (
        ("facts", "right answers", "held-out", "higher", "share", True),
        ("mixed_up", "answers that belong to another question", "held-out", "lower", "share", True),
        ("loss", "loss on the replies", "held-out", "lower", "nats"),
        ("token_f1", "words shared with the reference", "held-out", "higher", "share"),
        ("rouge_l", "ROUGE-L", "held-out", "higher", "share"),
        ("chrf", "chrF", "held-out", "higher", "share"),
        ("exact", "the reference word for word", "held-out", "higher", "share", True),
        ("contains", "the reference within the reply", "held-out", "higher", "share", True),
        ("stopped", "replies that end by themselves", "held-out", "higher", "share", True),
        ("length_ratio", "words for each of the reference", "held-out", "", "number"),
        ("repetition", "repeated runs of words", "held-out", "lower", "share"),
        ("refused", "refusals", "held-out", "lower", "share", True),
        ("general", "general questions right", "general", "higher", "share", True),
        (
            "leaked",
            "general answers that hold a fact of the chats",
            "general",
            "lower",
            "share",
            True,
        ),
        ("general_refused", "general questions refused", "general", "lower", "share", True),
        ("text_loss", "loss on general text", "text", "lower", "nats"),
    )
)
NAMED: Mapping[str, Measure] = {measure.name: measure for measure in MEASURES}


@dataclass(frozen=True)
class Reply:
    """What a model said; `stopped` tells whether it ended by itself."""

    text: str
    stopped: bool


def facts_of(questions: Sequence[Question]) -> Facts:
    """Return what the held-out chats teach: the answers that nobody else would know."""
    return Facts(a for q in questions if q.kind == "held-out" for a in q.answers)


def values(question: Question, reply: Reply, facts: Facts) -> dict[str, float]:
    """Return the value of every measure that a reply has one for."""
    if question.kind == "general":
        return {
            "general": float(is_right(question, reply.text, facts)),
            "leaked": float(bool(facts.named(reply.text, besides=question.answers))),
            "general_refused": float(scoring.refuses(reply.text)),
        }
    found = _against(question.reference or "", reply.text)
    if question.answers:
        found["facts"] = float(is_right(question, reply.text, facts))
        found["mixed_up"] = float(bool(facts.named(reply.text, besides=question.answers)))
    if question.fits:
        found["stopped"] = float(reply.stopped)
    found["repetition"] = scoring.repetition(reply.text)
    found["refused"] = float(scoring.refuses(reply.text))
    return found


def is_right(question: Question, reply: str, facts: Facts) -> bool:
    """Tell whether a reply to a checkable question is right.

    To a held-out question, a reply that names the answers to others as well is wrong.
    """
    if question.form and not forms.follows(reply, question.form):
        return False
    if question.answers and not scoring.is_right(reply, question.answers):
        return False
    return question.kind == "general" or not facts.named(reply, besides=question.answers)


def samples(
    questions: Sequence[Question], replies: Sequence[Reply], facts: Facts
) -> dict[str, Sample]:
    """Return each measure's values summed by unit, with the number of turns that they are of."""
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for question, reply in zip(questions, replies, strict=True):
        for name, value in values(question, reply, facts).items():
            units = found.setdefault(name, {})
            total, weight = units.get(question.unit, (0.0, 0.0))
            units[question.unit] = (total + value, weight + 1)
    return dict(found)


def _against(reference: str, reply: str) -> dict[str, float]:
    said, wanted = len(scoring.words(reply)), len(scoring.words(reference))
    return {
        "exact": float(scoring.is_exact(reply, reference)),
        "contains": float(scoring.holds(reply, reference)),
        "token_f1": scoring.token_f1(reply, reference),
        "rouge_l": scoring.rouge_l(reply, reference),
        "chrf": scoring.chrf(reply, reference),
        **({"length_ratio": said / wanted} if wanted else {}),
    }
