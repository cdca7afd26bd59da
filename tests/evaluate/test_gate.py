"""What passes the gate, what does not, and with which reasons."""

from __future__ import annotations

from typing import Any

import pytest

from hieno.config import Gate
from hieno.evaluate import gate
from hieno.evaluate.answers import Heard
from hieno.evaluate.comparison import score_of
from hieno.evaluate.measures import Reply
from hieno.evaluate.questions import Question
from hieno.evaluate.stage import judged

CHATS = 60
GENERAL = 120


def questions(chats: int = CHATS, general: int = GENERAL) -> list[Question]:
    asked = [
        Question("held-out", (said(f"Who is {n}?"),), f"It is fact{n}.", (f"fact{n}",), unit=n)
        for n in range(chats)
    ]
    known = [
        Question("general", (said(f"What is {n}?"),), None, (f"known{n}",), unit=n)
        for n in range(general)
    ]
    return [*asked, *known]


def said(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def model(
    *,
    right: int = 0,
    mixed: int = 0,
    known: int = 80,
    leaks: int = 0,
    chats: int = CHATS,
    text_loss: float = 3.0,
    stops: bool = True,
) -> Heard:
    """A model with so many right answers, mixed-up ones, known general ones and leaks."""
    held_out = [
        f"It is fact{n}."
        if n < right
        else f"It is fact{(n + 1) % chats}."
        if n < right + mixed
        else "No."
        for n in range(chats)
    ]
    general = [f"known{n}" if n < known else "What?" for n in range(GENERAL)]
    for n in range(leaks):
        general[-1 - n] = "fact0"
    return Heard(
        [Reply(text, stops) for text in [*held_out, *general]],
        chats={n: (30.0 - right / 3, 10) for n in range(chats)},
        texts={n: (text_loss * 50 + n % 3, 50) for n in range(60)},
    )


def report(tuned: Heard, *, base: Heard | None = None, **others: Any) -> dict[str, Any]:
    settings = Gate(**{name: value for name, value in others.items() if name != "champion"})
    heard = {"base": base or model(), "tuned": tuned}
    if "champion" in others:
        heard["champion"] = others["champion"]
    return judged(questions(len(tuned.chats)), heard, settings)


def test_a_better_model_passes_with_an_interval_that_excludes_zero() -> None:
    found = report(model(right=50))
    assert found["gate"]["passed"]
    assert found["gate"]["reasons"] == []
    assert found["verdict"]["word"] == "better"
    assert found["verdict"]["sentence"] == (
        "Better: right answers 0% -> 83% (95% sure of +68.7 to +90.1 points);"
        " general questions right 67% -> 67% (95% sure of -2.0 to +2.0 points)."
    )


@pytest.mark.parametrize(
    ("tuned", "reason"),
    [
        (model(right=0), "not better than its base: right answers 0% -> 0%"),
        (model(right=2), "not better than its base: right answers 0% -> 3%"),
        (model(right=20, mixed=30), "it mixes facts up: answers that belong to another question"),
        (model(right=50, known=60), "it forgot: general questions right 67% -> 50%"),
        (model(right=50, text_loss=3.7), "it forgot: loss on general text 3.02 -> 3.72"),
        (model(right=50, leaks=12), "facts leak: general answers that hold a fact of the chats 0%"),
        (model(right=50, stops=False), "it does not end: 0% of its replies end by themselves"),
    ],
)
def test_the_gate_names_what_is_wrong(tuned: Heard, reason: str) -> None:
    found = report(tuned)
    assert not found["gate"]["passed"]
    assert [text for text in found["gate"]["reasons"] if text.startswith(reason)]
    assert len(found["gate"]["reasons"]) == 1


def test_a_model_that_names_the_wrong_facts_is_worse_and_not_only_unproven() -> None:
    assert report(model(right=1))["verdict"]["word"] == "unproven"
    found = report(model(right=1, mixed=40))
    assert found["verdict"]["word"] == "worse"
    assert found["gate"]["reasons"][1].startswith(
        "it mixes facts up: answers that belong to another question 0% -> 67%"
    )


def test_some_facts_are_mixed_up_by_a_better_model() -> None:
    assert report(model(right=30, mixed=20))["gate"]["passed"]


def test_a_few_lost_questions_are_put_down_to_chance() -> None:
    one = report(model(right=50, known=74), max_forgotten=0.04)
    assert not one["gate"]["passed"]  # six lost and none gained is no chance
    base = model(known=80)
    shuffled = model(right=50, known=80)
    for n in range(70, 86):  # ten lost, six gained
        shuffled.replies[CHATS + n] = Reply(f"known{n}" if n >= 80 else "?", True)
    found = report(shuffled, base=base, max_forgotten=0.03)
    assert found["scores"]["tuned"]["general"]["right"] == 76
    assert found["gate"]["passed"]


def test_the_champion_stays_when_the_new_model_is_behind_it() -> None:
    found = report(model(right=30), champion=model(right=50))
    assert found["verdict"]["word"] == "worse"
    assert found["gate"]["reasons"] == [
        "behind the champion: right answers 83% -> 50% (95% sure of -43.9 to -19.6 points)"
    ]
    assert report(model(right=50), champion=model(right=51))["gate"]["passed"]


def test_few_chats_are_judged_by_the_estimate_and_that_is_said() -> None:
    found = report(model(right=1, chats=3), base=model(chats=3))
    assert found["gate"]["passed"]
    assert found["verdict"]["word"] == "better"
    assert found["gate"]["notes"] == [
        "3 held-out chats are too few for a proof: with 60 and more, the gate asks for an interval"
        " that excludes zero"
    ]
    assert not report(model(right=0, chats=3), base=model(chats=3))["gate"]["passed"]


def test_chats_without_known_answers_are_compared_by_their_words() -> None:
    asked = [Question("held-out", (said("?"),), "it is blue", (), unit=n) for n in range(60)]
    base = Heard([Reply("who knows", True)] * 60, {}, {})
    tuned = Heard([Reply("it is green", True)] * 59 + [Reply("it is blue", True)], {}, {})
    found = judged(asked, {"base": base, "tuned": tuned}, Gate())
    assert found["scores"]["tuned"]["facts"] == {"right": 0, "of": 0, "share": None}
    assert found["verdict"]["sentence"].startswith(
        "Better: words shared with the reference 0% -> 67%"
    )
    assert not judged(asked, {"base": tuned, "tuned": tuned}, Gate())["gate"]["passed"]


def test_the_score_of_a_training_counts_what_was_learnt_less_what_was_lost() -> None:
    assert score_of(report(model(right=30))) == pytest.approx(0.5)
    assert score_of(report(model(right=30, known=68))) == pytest.approx(0.4)
    assert score_of(report(model(right=30, leaks=12))) == pytest.approx(0.4)


def test_points_and_losses_are_shown_with_their_sign() -> None:
    assert gate.points(0.05) == "+5.0"
    assert gate.signed(-0.051) == "-0.05"
