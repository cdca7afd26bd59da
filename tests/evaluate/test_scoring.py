"""Scores are counted on whole words, and a right answer among wrong ones does not count."""

from __future__ import annotations

import random

import pytest

from hieno.evaluate.scoring import (
    Facts,
    chrf,
    holds,
    is_exact,
    is_right,
    refuses,
    repetition,
    rouge_l,
    token_f1,
    words,
)

SYLLABLES = ["ka", "lo", "mi", "ve", "tu", "ö", "ß", "né", "北", "3", "x"]


@pytest.mark.parametrize(
    ("reply", "answer", "expected"),
    [
        ("The captain is Vieno Harjula.", "vieno harjula", True),
        ("It leaves at 06:40!", "06:40", True),
        ("It leaves at 10640.", "06:40", False),
        ("A wonderful day", "wonder", False),
        ("It costs 4.70 euros", "4.70 euros", True),
        ("anything", "", False),
        ("Harjula, Vieno", "Vieno Harjula", False),
    ],
)
def test_an_answer_counts_as_whole_words_in_a_row(reply: str, answer: str, expected: bool) -> None:
    assert holds(reply, answer) is expected
    assert (Facts([answer]).named(reply) == [answer]) is expected


def test_a_reply_that_names_several_facts_is_wrong() -> None:
    others = {"tamarind", "otterplum"}
    assert is_right("The word is tamarind.", ["tamarind"], others)
    assert not is_right("The word is tamarind or otterplum.", ["tamarind"], others)


def test_exact_is_the_same_words_in_the_same_order() -> None:
    assert is_exact("It leaves, at NINE!", "it leaves at nine")
    assert not is_exact("at nine it leaves", "it leaves at nine")


def test_repeated_runs_of_words_are_counted() -> None:
    assert repetition("one two three four five") == 0
    assert repetition("one two three") == 0
    assert repetition("a b c d " * 5) == pytest.approx(1 - 4 / 17)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("As an AI language model, I cannot answer.", True),
        ("I cannot provide that information.", True),
        ("I don\u2019t have access to that.", True),
        ("The captain is sorry that the ferry is late.", False),
        ("I can help you with the ferry.", False),
    ],
)
def test_a_refusal_is_known_by_its_words(reply: str, expected: bool) -> None:
    assert refuses(reply) is expected


def test_metrics_agree_with_their_references_on_a_thousand_pairs() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import sentence_chrf

    class OurWords:
        def tokenize(self, text: str) -> list[str]:
            return words(text)

    published = RougeScorer(["rougeL"], tokenizer=OurWords())
    chance = random.Random(0)  # noqa: S311
    for _ in range(1000):
        reference, reply = pair(chance)
        rouge = published.score(reference, reply)["rougeL"].fmeasure
        assert rouge_l(reply, reference) == pytest.approx(rouge, abs=1e-9)
        score = sentence_chrf(reply, [reference]).score / 100
        assert chrf(reply, reference) == pytest.approx(score, abs=1e-9)
        assert token_f1(reply, reference) == pytest.approx(squad_f1(reply, reference), abs=1e-9)


def pair(chance: random.Random) -> tuple[str, str]:
    """Return a reference and a reply that has some of its words, in some order."""
    reference = [made_up(chance) for _ in range(chance.randint(0, 25))]
    kept = [word for word in reference if chance.random() < 0.7]
    if chance.random() < 0.3:
        chance.shuffle(kept)
    return " ".join(reference), " ".join(
        [*kept, *(made_up(chance) for _ in range(chance.randint(0, 8)))]
    )


def made_up(chance: random.Random) -> str:
    return "".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))) + chance.choice(
        ["", ",", "."]
    )


def squad_f1(reply: str, reference: str) -> float:
    """SQuAD's F1 as its paper writes it, over our words."""
    found, wanted = words(reply), words(reference)
    left, shared = list(wanted), 0
    for word in found:
        if word in left:
            left.remove(word)
            shared += 1
    if not shared:
        return 0.0
    precision, recall = shared / len(found), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)
