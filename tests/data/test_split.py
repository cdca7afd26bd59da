"""Nothing alike stands on both sides, and what was held out stays held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from preparing import Made, chat, different, prepare, write

from hieno.data.likeness import band_rows, near_pairs, signature

WORDS = "the ferry leaves the harbour at twenty past six and comes back before noon when it can"


def near(number: int, *, changed: int = 0) -> dict[str, Any]:
    """Return a chat of which those with one number are alike."""
    words = [
        f"{word}{number}x{place}" for place, word in enumerate(f"{WORDS} {WORDS} {WORDS}".split())
    ]
    words[-1] = f"end{changed}"
    return chat(" ".join(words), f"certainly {number} is what we said about it {number}")


def sides(made: Made) -> tuple[set[str], set[str]]:
    return set(made.asked("train")), set(made.asked("test"))


def test_the_split_is_seeded_exact_and_independent_of_the_order(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = different(100)
    made = prepare(tiny_model, tmp_path, write(tmp_path / "a.jsonl", rows))
    again = prepare(tiny_model, tmp_path, write(tmp_path / "b.jsonl", rows[::-1]), name="b")
    other = prepare(tiny_model, tmp_path, tmp_path / "a.jsonl", name="c", seed=1)
    train, test = sides(made)
    assert (len(train), len(test)) == (80, 20)
    assert sides(again) == (train, test)
    assert sides(other)[1] != test


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 1), (3, 1)])
def test_a_tiny_set_keeps_something_to_learn(
    tiny_model: Path, tmp_path: Path, count: int, held_out: int
) -> None:
    made = prepare(tiny_model, tmp_path, write(tmp_path / "a.jsonl", different(count)))
    assert made.facts["rows"]["test"] == held_out


def test_repeats_and_near_repeats_are_set_aside(tiny_model: Path, tmp_path: Path) -> None:
    rows = [near(1), *different(3), near(1), near(1, changed=7), near(2)]
    made = prepare(tiny_model, tmp_path, write(tmp_path / "a.jsonl", rows))
    assert made.codes() == [(5, "duplicate"), (6, "near-duplicate")]
    problems = [row["problem"] for row in made.rows("rejected")]
    assert problems == ["the same chat as in a.jsonl:1", "nearly the same chat as in a.jsonl:1"]


def test_a_system_message_makes_no_chats_alike(tiny_model: Path, tmp_path: Path) -> None:
    rows = different(4)
    for row in rows:
        row["messages"].insert(0, {"role": "system", "content": WORDS * 2})
    made = prepare(tiny_model, tmp_path, write(tmp_path / "a.jsonl", rows))
    assert made.facts["rejected_by_code"] == {}


def test_the_users_own_test_file_is_kept_whole_and_leaks_are_set_aside(
    tiny_model: Path, tmp_path: Path
) -> None:
    held = write(tmp_path / "held.jsonl", [near(1), near(1, changed=1), near(2)])
    rows = [near(2), *different(6), near(1, changed=5), near(1, changed=5)]
    made = prepare(tiny_model, tmp_path, write(tmp_path / "a.jsonl", rows), test=held)
    assert made.facts["rows"] == {"train": 6, "test": 3, "replay": 0, "rejected": 3}
    assert made.codes() == [(1, "in-test"), (8, "near-test"), (9, "near-test")]


def test_kept_near_duplicates_never_span_the_split(tiny_model: Path, tmp_path: Path) -> None:
    rows = [near(group, changed=member) for group in range(60) for member in range(3)]
    source = write(tmp_path / "a.jsonl", rows + different(100))
    made = prepare(tiny_model, tmp_path, source, near_duplicates="keep")
    assert made.facts["rows"]["rejected"] == 0
    groups = [{text.split()[0] for text in side if text.startswith("the")} for side in sides(made)]
    assert not groups[0] & groups[1]
    assert groups[1], "some groups are held out, or this proves nothing"
    assert abs(made.facts["rows"]["test"] / 280 - 0.2) <= 0.02


def test_a_held_out_chat_stays_held_out_when_the_data_grow(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = different(118)
    first = prepare(tiny_model, tmp_path, write(tmp_path / "a.jsonl", rows))
    grown = write(tmp_path / "b.jsonl", [*different(3, start=5000), *rows[::-1]])
    second = prepare(tiny_model, tmp_path, grown, name="second", earlier=first.folder)
    assert sides(first)[1] <= sides(second)[1]
    assert sides(first)[0] <= sides(second)[0]
    assert second.facts["rows"]["test"] == 24
    forgetful = prepare(tiny_model, tmp_path, grown, name="third")
    assert not sides(first)[1] <= sides(forgetful)[1], "without memory a test chat would be learnt"


def test_a_newcomer_joins_the_held_out_chats_that_it_is_near(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = [near(group) for group in range(20)]
    first = prepare(tiny_model, tmp_path, write(tmp_path / "a.jsonl", rows))
    grown = write(tmp_path / "b.jsonl", [*[near(g, changed=9) for g in range(20)], *rows])
    second = prepare(
        tiny_model, tmp_path, grown, name="b", earlier=first.folder, near_duplicates="keep"
    )
    groups = [{text.split()[0] for text in side} for side in sides(second)]
    assert not groups[0] & groups[1]
    assert second.facts["rows"] == {"train": 32, "test": 8, "replay": 0, "rejected": 0}
    dropped = prepare(tiny_model, tmp_path, grown, name="c", earlier=first.folder)
    assert sides(dropped) == sides(first)
    assert dropped.facts["rejected_by_code"] == {"near-duplicate": 20}


def test_a_newcomer_between_both_sides_is_set_aside(tiny_model: Path, tmp_path: Path) -> None:
    left = [f"left{place}" for place in range(60)]
    right = [*left[:36], *(f"right{place}" for place in range(24))]
    middle = [*left[:48], *right[48:]]
    ends = [chat(" ".join(words), "yes") for words in (left, right)]
    first = prepare(
        tiny_model, tmp_path, write(tmp_path / "a.jsonl", ends), test_size=0.5, similarity=0.5
    )
    assert first.facts["rows"]["test"] == 1
    grown = write(tmp_path / "b.jsonl", [chat(" ".join(middle), "yes"), *ends])
    for handling in ("drop", "keep"):
        second = prepare(
            tiny_model, tmp_path, grown, name=handling, earlier=first.folder, test_size=0.5,
            similarity=0.5, near_duplicates=handling,
        )  # fmt: skip
        assert second.codes() == [(1, "bridge")]
        assert sides(second) == sides(first)


def test_likeness_is_estimated_without_bias() -> None:
    rng = np.random.default_rng(0)
    errors = []
    for shared in (0.5, 0.7, 0.9):
        for _ in range(30):
            words = [f"w{number}" for number in rng.integers(0, 10**9, 400)]
            cut = int(len(words) * shared)
            other = [*words[:cut], *(f"x{number}" for number in rng.integers(0, 10**9, 400 - cut))]
            grams = [{tuple(w[i : i + 3]) for i in range(398)} for w in (words, other)]
            exact = len(grams[0] & grams[1]) / len(grams[0] | grams[1])
            made = [signature(chat(" ".join(w))["messages"]) for w in (words, other)]
            errors.append(float((made[0] == made[1]).mean()) - exact)
    assert abs(np.mean(errors)) < 0.01
    assert np.std(errors) < 0.05  # sqrt(J (1 - J) / 128) is at most 0.044


def test_near_pairs_are_found_in_a_crowd() -> None:
    rng = np.random.default_rng(0)
    signatures = rng.integers(0, 2**32, (3000, 128), dtype=np.uint32)
    for place in range(0, 400, 2):  # pairs with 110 of 128 minima equal: likeness 0.86
        signatures[place + 1] = signatures[place]
        signatures[place + 1, rng.choice(128, 18, replace=False)] += np.uint32(1)
    found = {(int(a), int(b)) for a, b in near_pairs(signatures, 0.8)}
    wanted = {(place, place + 1) for place in range(0, 400, 2)}
    assert found <= wanted
    assert len(found) >= 199


def test_a_bucket_of_many_is_one_group() -> None:
    signatures = np.tile(np.arange(128, dtype=np.uint32), (500, 1))
    pairs = near_pairs(signatures, 0.8)
    assert {0} | {int(b) for a, b in pairs if a == 0} == set(range(500))
    assert len(pairs) < 500 * 10


def test_bands_suit_the_threshold() -> None:
    assert [band_rows(threshold) for threshold in (0.5, 0.8, 0.9, 1)] == [3, 6, 9, 32]
