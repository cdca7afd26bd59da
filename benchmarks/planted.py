"""Chats of UltraChat's shape with flaws planted in them, and what of these a dataset found."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hieno.data import privacy
from hieno.files import read_jsonl

BROKEN, NEAR, LEAKED, SECRETS = 0.02, 0.05, 0.01, 30
SEED = 0

Planted = dict[str, set[int]]  # kind -> lines


def generate(root: Path, rows: int) -> Planted:
    """Write `chats.jsonl` and `held.jsonl`; return the lines of what was planted."""
    rng = random.Random(SEED)  # noqa: S311  # nothing here is secret
    writer = _Writer(rng)
    held = [writer.chat() for _ in range(max(20, rows // 50))]
    with (root / "held.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps({"messages": chat}) + "\n" for chat in held)
    planted: Planted = {kind: set() for kind in ("broken", "near", "leaked", "secret")}
    secrets = set(rng.sample(range(1, rows + 1), min(SECRETS, rows // 10)))
    recent: list[list[dict[str, str]]] = []
    with (root / "chats.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for line in range(1, rows + 1):
            chance = rng.random()
            if line in secrets:
                chat = writer.chat()
                chat[0]["content"] += f" {writer.secret()} "
                planted["secret"].add(line)
            elif chance < BROKEN:
                planted["broken"].add(line)
                file.write(writer.broken() + "\n")
                continue
            elif chance < BROKEN + NEAR and recent:
                planted["near"].add(line)
                chat = writer.edited(rng.choice(recent))
            elif chance < BROKEN + NEAR + LEAKED:
                planted["leaked"].add(line)
                chosen = rng.choice(held)
                chat = chosen if rng.random() < 0.5 else writer.edited(chosen)
            else:
                chat = writer.chat()
                if rng.random() < 0.2:
                    recent = [*recent[-499:], chat]
            file.write(json.dumps({"messages": chat}) + "\n")
    return planted


def score(dataset: Path, planted: Planted) -> dict[str, tuple[float, float]]:
    """Return (recall, precision) of each kind."""
    rejected: dict[str, set[int]] = {}
    for row in read_jsonl(dataset / "rejected.jsonl"):
        if row["file"] == "chats.jsonl":
            rejected.setdefault(row["code"], set()).add(row["line"])
    codes = {
        "near-duplicates": ("near", ("duplicate", "near-duplicate")),
        "leaks": ("leaked", ("in-test", "near-test")),
    }
    found = {
        name: _rates(set().union(*(rejected.pop(code, set()) for code in kinds)), planted[kind])
        for name, (kind, kinds) in codes.items()
    }
    found["broken rows"] = _rates(set().union(*rejected.values()), planted["broken"])
    finds = read_jsonl(dataset / "findings.jsonl")
    lines = {
        f["line"] for f in finds if f["family"] == privacy.SECRET and f["file"] == "chats.jsonl"
    }
    found["secrets"] = _rates(lines, planted["secret"])
    return found


class _Writer:
    """Words of the standard library's own documentation, as often as words are in a language."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        text = "".join(
            path.read_text("utf-8") for path in sorted(Path(os.__file__).parent.glob("*.py"))
        )
        found = sorted(set(re.findall(r"\b[a-z]{2,12}\b", text)))
        rng.shuffle(found)
        self._words = found[:20_000]
        weights = (1 / (place + 10) for place in range(len(self._words)))
        self._weights = list(_running(weights))

    def chat(self) -> list[dict[str, str]]:
        """Return 1 to 5 turns, longer ones with longer replies, 1,100 tokens in the mean."""
        chat = []
        for _ in range(self._rng.choices((1, 2, 3, 4, 5), (10, 20, 35, 25, 10))[0]):
            chat.append({"role": "user", "content": self._text(self._rng.randint(8, 60))})
            chat.append({"role": "assistant", "content": self._text(self._rng.randint(80, 310))})
        return chat

    def edited(self, chat: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        """Return the chat as somebody else exported it: a few words changed, case or spaces."""
        kind = self._rng.randrange(3)
        made = []
        for message in chat:
            words = message["content"].split(" ")
            if kind == 0:
                words = [w if self._rng.random() > 0.015 else self._word() for w in words]
            text = " ".join(words)
            made.append({**message, "content": text.lower() if kind == 1 else text})
        if kind == 2:
            made[-1]["content"] += " " + self._text(
                max(3, sum(len(m["content"]) for m in made) // 120)
            )
        return made

    def broken(self) -> str:
        """Return a row that cannot be used."""
        chat = self.chat()
        kinds: list[Callable[[], str]] = [
            lambda: json.dumps({"messages": chat})[:-20],
            lambda: json.dumps({"messages": chat[:-1]}),
            lambda: json.dumps({"messages": [{**chat[0], "role": "bot"}, *chat[1:]]}),
            lambda: json.dumps({"messages": [*chat[:-1], {**chat[-1], "content": " "}]}),
            lambda: json.dumps({"text": chat[0]["content"]}),
            lambda: json.dumps({"messages": [chat[0], *chat]}),
        ]
        return str(self._rng.choice(kinds)())

    def secret(self) -> str:
        """Return a made-up secret."""
        signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        body = "".join(self._rng.choices(signs, k=40))
        prefixes = (f"AKIA{body[:16]}", f"ghp_{body[:36]}", f"sk-{body}", f"hf_{body[:34]}")
        return str(self._rng.choice(prefixes))

    def _text(self, words: int) -> str:
        sentences = []
        while words > 0:
            length = min(words, self._rng.randint(5, 20))
            chosen = self._rng.choices(self._words, cum_weights=self._weights, k=length)
            sentences.append(" ".join(chosen).capitalize() + ".")
            words -= length
        return " ".join(sentences)

    def _word(self) -> str:
        return str(self._rng.choice(self._words))


def _rates(found: set[int], planted: set[int]) -> tuple[float, float]:
    right = len(found & planted)
    return right / max(1, len(planted)), right / max(1, len(found))


def _running(values: Iterator[float]) -> Iterator[float]:
    total = 0.0
    for value in values:
        total += value
        yield total
