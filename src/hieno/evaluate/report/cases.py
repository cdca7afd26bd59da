"""Answers side by side, the worst first, with the words marked that differ from the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any  # rows are JSON

from hieno.evaluate import scoring
from hieno.page import safe

CASES_STYLE = """
.case{border:1px solid var(--line);border-radius:6px;margin:.8rem 0;padding:.6rem .9rem;
break-inside:avoid}.case h3{font-size:1rem;margin:.1rem 0 .5rem;font-weight:600}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.8rem}
.side{background:var(--soft);border-radius:4px;padding:.5rem .7rem;min-width:0}
.side b{display:block;font-size:.8rem;color:var(--quiet);font-weight:600}
.side b.better{color:var(--good)}.side b.worse{color:var(--bad)}
.said{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;font-size:.92rem}
.said ins{background:var(--bad-soft);text-decoration:underline dotted}
.said del{background:var(--good-soft);text-decoration:none}
details{margin:.4rem 0}summary{cursor:pointer;color:var(--quiet)}
"""
MOST = 40  # cases of a kind on the page; all of them are in answers.jsonl
OPEN = 5  # of a kind, shown at once
LONGEST = 1500  # characters of one text
Json = Mapping[str, Any]


def cases(rows: Sequence[Json]) -> str:
    """Return the sections of held-out chats and of general questions."""
    held_out = sorted((row for row in rows if row["kind"] == "held-out"), key=_badness)
    lost = sorted((row for row in rows if row["kind"] == "general"), key=_badness)
    shown = [row for row in lost if row["tuned"]["leaked"] or _lost(row) or _won(row)]
    return "\n".join(
        [
            *_section("Held-out chats, the worst first", held_out),
            *_section("General questions that changed, the worst first", shown),
        ]
    )


def marked(text: str, other: str, tag: str) -> str:
    """Return a text as HTML with the words in a tag that another text does not have there."""
    said, wanted = _pieces(text), _pieces(other)
    matcher = SequenceMatcher(None, [_plain(p) for p in said], [_plain(p) for p in wanted], False)
    parts = []
    for kind, start, end, *_ in matcher.get_opcodes():
        piece = safe("".join(said[start:end]))
        parts.append(piece if kind == "equal" or not piece else f"<{tag}>{piece}</{tag}>")
    return "".join(parts)


def _section(title: str, rows: Sequence[Json]) -> Iterator[str]:
    if not rows:
        return
    yield f"<h2>{title}</h2>"
    if len(rows) > MOST:
        yield f"<p>{MOST} of {len(rows):,}; all are in answers.jsonl.</p>"
    yield from (_case(row) for row in rows[:OPEN])
    if len(rows) > OPEN:
        rest = rows[OPEN:MOST]
        yield f"<details><summary>{len(rest)} more</summary>"
        yield from (_case(row) for row in rest)
        yield "</details>"


def _badness(row: Json) -> tuple[bool, bool, bool, float]:
    """Order by: leaks, lost answers, wrong answers, and words unlike the reference."""
    tuned = row["tuned"]
    likeness = scoring.token_f1(tuned["reply"], row["reference"]) if row["reference"] else 1.0
    return (not tuned.get("leaked"), not _lost(row), tuned["right"] is not False, likeness)


def _lost(row: Json) -> bool:
    return row["base"]["right"] is True and row["tuned"]["right"] is False


def _won(row: Json) -> bool:
    return row["base"]["right"] is False and row["tuned"]["right"] is True


def _case(row: Json) -> str:
    question = row["messages"][-1]["content"]
    reference = row["reference"] or ""
    sides = [
        _side(model, _verdict(row[model]), _reply(row[model]["reply"], reference))
        for model in ("base", "tuned", "champion")
        if model in row
    ]
    if reference:
        tuned = _cut(row["tuned"]["reply"])
        sides.append(_side("reference", "", marked(_cut(reference), tuned, "del")))
    elif row["answers"] or row["form"]:
        asked = [*row["answers"], *(f"{name}: {value}" for name, value in row["form"].items())]
        sides.append(_side("right is", "", safe(_cut(" / ".join(asked)))))
    return (
        f'<div class="case"><h3 class="said" dir="auto">{safe(_cut(question))}</h3>'
        f'{_before(row)}<div class="sides">{"".join(sides)}</div></div>'
    )


def _reply(reply: str, reference: str) -> str:
    if not reply:
        return "<i>(nothing)</i>"
    return marked(_cut(reply), _cut(reference), "ins") if reference else safe(_cut(reply))


def _verdict(said: Json) -> str:
    if said.get("leaked"):
        return "leaks"
    return {True: "right", False: "wrong", None: ""}[said["right"]]


def _side(name: str, outcome: str, html: str) -> str:
    colour = {"right": "better", "wrong": "worse", "leaks": "worse"}.get(outcome, "")
    title = f"{name}: {outcome}" if outcome else name
    return (
        f'<div class="side"><b class="{colour}">{safe(title)}</b>'
        f'<div class="said" dir="auto">{html}</div></div>'
    )


def _before(row: Json) -> str:
    earlier = row["messages"][:-1]
    if not earlier:
        return ""
    said = "\n".join(f"{message['role']}: {message['content']}" for message in earlier)
    return (
        f"<details><summary>{len(earlier)} messages before it</summary>"
        f'<div class="said" dir="auto">{safe(_cut(said))}</div></details>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"


def _pieces(text: str) -> list[str]:
    """Return the words of a text, each with the white space after it."""
    pieces: list[str] = []
    for word in text.split(" "):
        pieces.append(f"{word} ")
    pieces[-1] = pieces[-1][:-1]
    return pieces


def _plain(piece: str) -> str:
    return " ".join(scoring.words(piece))
