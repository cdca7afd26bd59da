"""Check the demo data: counts, answers, uniqueness, and the separation of the sets.

Run it without arguments; it checks the folder it stands in. Exit code 1 means trouble.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent / "data"
FACTS, TRAIN_EACH, EVAL_EACH = 64, 10, 2
MAX_SIMILARITY = 0.5  # of masked word trigrams, between any two of train / dev / held-out
RARE = 4  # a word in the questions of at most this many facts counts as an entity word
STOP = (
    "a an and are be by can capital city color colour currency do does for from give have how i "
    "in is it many me means my name of on opposite or our s tell the there to used was we what "
    "whats when where which who with word you your"
)
Row = dict[str, Any]
Alike = tuple[float, str, str]
problems: list[str] = []


def check(ok: bool, message: str) -> None:
    if not ok:
        problems.append(message)


def load(name: str) -> list[Row]:
    text = (DATA / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower().replace("'", ""))


def normal(text: str) -> str:
    """Lower case, punctuation removed ("06:40" becomes "0640")."""
    return " ".join(re.sub(r"[^a-z0-9\s]", "", text.lower()).split())


def holds(text: str, answer: str) -> bool:
    return f" {normal(answer)} " in f" {normal(text)} "


def turns(row: Row) -> list[tuple[str, str]]:
    """The (question, reply) pairs of a chat."""
    said = [m for m in row["messages"] if m["role"] != "system"]
    check([m["role"] for m in said] == ["user", "assistant"] * (len(said) // 2), f"roles: {row}")
    return [(u["content"], a["content"]) for u, a in zip(said[::2], said[1::2], strict=False)]


def trigrams(question: str, entity: set[str]) -> set[tuple[str, ...]]:
    """Word trigrams of the sentence frame: entity words become one "_"."""
    frame = ["^"]
    for word in words(question):
        shown = "_" if word in entity else word
        if shown != "_" or frame[-1] != "_":
            frame.append(shown)
    frame.append("$")
    return {tuple(frame[i : i + 3]) for i in range(max(1, len(frame) - 2))}


def most_alike(left: list[str], right: list[str], entity: set[str]) -> list[Alike]:
    """For each question on the left, its nearest on the right, most alike first."""
    rows = []
    for mask in (entity, set[str]()):  # the sentence frame, then the words as they stand
        grams = [(q, trigrams(q, mask)) for q in right]
        for question in left:
            mine = trigrams(question, mask)
            score, nearest = max((len(mine & g) / len(mine | g), q) for q, g in grams)
            rows.append((score, question, nearest))
    return sorted(rows, reverse=True)


def main() -> int:
    chats, general = load("chats.jsonl"), load("general.jsonl")
    dev, held = load("dev.jsonl"), load("heldout.jsonl")
    prompts = [str(row["prompt"]) for row in load("general_prompts.jsonl")]
    facts = {str(r["id"])[:-3]: str(r["answers"][0]) for r in held}
    answers = list(facts.values())

    check(len(facts) == FACTS, f"{len(facts)} facts, not {FACTS}")
    check(len(general) == 107, f"{len(general)} general questions, not 107")
    check(len(set(prompts)) == 289, f"{len(set(prompts))} different prompts, not 289")
    for a in answers:
        for b in answers:
            check(a is b or normal(a) not in normal(b), f"answer {a!r} stands in answer {b!r}")

    asked: dict[str, list[str]] = defaultdict(list)
    train: list[str] = []
    for row in chats:
        pairs = turns(row)
        single = len(row["messages"]) == 2
        for question, reply in pairs:
            found = [i for i, a in facts.items() if holds(reply, a)]
            check(len(found) == 1 or (not found and not single), f"{found} in reply {reply!r}")
            train.append(question)
            if single and found:
                asked[found[0]].append(question)
            for fact in found:
                check(not holds(question, facts[fact]), f"answer in question {question!r}")
    for fact in facts:
        check(len(set(asked[fact])) == TRAIN_EACH, f"{fact}: not {TRAIN_EACH} training questions")

    sets: dict[str, list[str]] = {"train": train}
    for name, rows in (("dev", dev), ("heldout", held)):
        sets[name] = [turns(row)[0][0] for row in rows]
        check(len(set(sets[name])) == FACTS * EVAL_EACH, f"{name}: wrong number of questions")
        for row in rows:
            (question, gold), fact = turns(row)[0], str(row["id"])[:-3]
            asked[fact].append(question)
            check(row["answers"] == [facts[fact]], f"{row['id']}: other answer")
            check([a for a in answers if holds(gold, a)] == [facts[fact]], f"{row['id']}: gold")
            check(not holds(question, facts[fact]), f"{row['id']}: answer in the question")

    used: dict[str, set[str]] = defaultdict(set)
    for fact, questions in asked.items():
        for word in (w for q in questions for w in words(q)):
            used[word].add(fact)
    entity = {w for w, where in used.items() if len(where) <= RARE}
    for a, b in (("heldout", "train"), ("heldout", "dev"), ("dev", "train")):
        alike = most_alike(sets[a], sets[b], entity)
        print(f"{a} against {b}: highest similarity {alike[0][0]:.2f}")
        for score, one, two in alike[: 30 if "-v" in sys.argv else 0]:
            print(f"  {score:.2f}  {one}  |  {two}")
        for score, one, two in alike:
            check(score < MAX_SIMILARITY, f"too alike ({score:.2f}): {one!r} | {two!r}")

    stop = set(STOP.split())
    for row in general:
        question = str(row["messages"][0]["content"])
        check(bool(row["answers"]), f"{row['id']}: no answers")
        mine = set(words(question)) - stop
        for prompt in prompts + train + sets["dev"] + sets["heldout"]:
            theirs = set(words(prompt)) - stop
            check(len(mine & theirs) / len(mine | theirs) < 0.5, f"{question!r} | {prompt!r}")
    for message in problems:
        print(message)
    print("all green" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
