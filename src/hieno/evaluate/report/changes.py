"""The verdict, and what got better and worse, with each interval drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any  # reports are JSON

from hieno.evaluate.gate import OPENINGS, points, signed
from hieno.evaluate.measures import NAMED
from hieno.page import safe, table

CHANGES_STYLE = """
.verdict{border-left:.4rem solid var(--quiet);background:var(--soft);padding:.8rem 1.1rem;
border-radius:4px;margin:1rem 0}.verdict p{margin:.3rem 0}.verdict .word{font-size:1.3rem;
font-weight:650}.verdict.better{border-color:var(--good)}.verdict.worse{border-color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem}
.tile{border:1px solid var(--line);border-radius:6px;padding:.6rem .9rem}
.tile b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}
.tile span{color:var(--quiet);font-size:.9rem}.wide{overflow-x:auto}
.changes{width:100%}.changes td{overflow-wrap:normal}
.better{color:var(--good)}.worse{color:var(--bad)}
.changes .mark,.changes td:last-child{white-space:nowrap}.verdict.better,
.verdict.worse{color:inherit}
"""
ORDER = {"worse": 0, "better": 1, "": 2}
SIGNS = {"worse": "\u25bc worse", "better": "\u25b2 better", "": ""}
TILES = (
    ("facts", "right on held-out chats"),
    ("token_f1", "words shared with the reference"),
    ("general", "general questions right"),
    ("leaked", "general answers with a leaked fact"),
    ("loss", "loss on held-out replies"),
)
WIDTH, HEIGHT = 180, 18
Json = Mapping[str, Any]


def verdict(report: Json, name: str) -> str:
    """Return the head of the page: the verdict in a sentence, its reasons, the main numbers."""
    found, gate = report["verdict"], report["gate"]
    word = found["word"] if found["word"] in OPENINGS else "unproven"
    sentence = str(found["sentence"]).partition(": ")[2]
    sentence = sentence[:1].upper() + sentence[1:]
    passed = "It passes the gate." if gate["passed"] else "The gate refuses it: it may not serve."
    reasons = "".join(f"<li>{safe(reason)}</li>" for reason in gate["reasons"])
    notes = "".join(f"<p>{safe(note)}.</p>" for note in gate["notes"])
    told = f"<ul>{reasons}</ul>" if reasons else f"<p>{safe(sentence)}</p>"
    return (
        f'<h1>{safe(name)}</h1><div class="verdict {word}">'
        f'<p class="word">{OPENINGS[word]}</p>{told}<p>{passed}</p>{notes}</div>{_tiles(report)}'
    )


def changes(report: Json, other: str, label: str) -> str:
    """Return the table of differences to another model: what got worse first."""
    rows = sorted(report["differences"][other], key=lambda row: ORDER[row["change"]])
    lines = "".join(_line(row) for row in rows)
    head = (
        f'<tr><th>measure</th><th></th><th class="n">{safe(label)}</th><th class="n">tuned</th>'
        '<th class="n">difference</th><th>95% interval</th></tr>'
    )
    return f'<div class="wide"><table class="changes">{head}{lines}</table></div>'


def topics(rows: Sequence[Json]) -> str:
    """Return how many general questions of each topic are right, before and after."""
    found: dict[str, list[int]] = {}
    for row in rows:
        if row["kind"] == "general":
            counts = found.setdefault(row["topic"] or "general", [0, 0, 0])
            counts[0] += bool(row["base"]["right"])
            counts[1] += bool(row["tuned"]["right"])
            counts[2] += 1
    if not found:
        return ""
    counted = [(topic, *(f"{count:,}" for count in counts)) for topic, counts in found.items()]
    return table(("topic", "base", "tuned", "of"), counted)


def _tiles(report: Json) -> str:
    compared = {row["name"]: row for row in report["differences"]["base"]}
    lead = "token_f1" if "facts" not in compared else "facts"
    made = [
        _tile(compared[name], label)
        for name, label in TILES
        if name in compared and (name == lead or name not in ("facts", "token_f1"))
    ]
    return f'<div class="tiles">{"".join(made)}</div>'


def _tile(row: Json, label: str) -> str:
    before, after = _value(row, "before"), _value(row, "after")
    return (
        f'<div class="tile"><b class="{row["change"]}">{before} \u2192 {after}</b>'
        f"<span>{safe(label)}</span></div>"
    )


def _line(row: Json) -> str:
    difference = _difference(row, row["difference"])
    sure = (
        f"{_difference(row, row['low'])} to {_difference(row, row['high'])}"
        if row["low"] is not None
        else f"{row['units']} are too few"
    )
    mark = SIGNS[row["change"]] if NAMED[row["name"]].better else ""
    return (
        f"<tr><td>{safe(NAMED[row['name']].label)}</td>"
        f'<td class="mark {row["change"]}">{mark}</td>'
        f'<td class="n">{_value(row, "before")}</td><td class="n">{_value(row, "after")}</td>'
        f'<td class="n">{difference}</td><td>{_drawn(row)}<br>{sure}</td></tr>'
    )


def _drawn(row: Json) -> str:
    """Return the interval as a bar around zero, shares on a scale of 100 points."""
    if row["low"] is None:
        return ""
    low, high = row["low"], row["high"]
    scale = 1.0 if NAMED[row["name"]].unit == "share" else max(abs(low), abs(high), 1e-9) * 1.1
    left, right, middle = (
        round(WIDTH / 2 * (1 + max(-1.0, min(1.0, value / scale))), 1)
        for value in (low, high, row["difference"])
    )
    colour = {"better": "--good", "worse": "--bad"}.get(row["change"], "--quiet")
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
        f'<line x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="0" y2="{HEIGHT}" stroke="var(--line)"/>'
        f'<line x1="{left}" x2="{max(right, left + 1)}" y1="9" y2="9" stroke="var({colour})"'
        f' stroke-width="5"/><circle cx="{middle}" cy="9" r="5" fill="var({colour})"/></svg>'
    )


def _value(row: Json, when: str) -> str:
    value = row[when]
    return f"{value:.1%}" if NAMED[row["name"]].unit == "share" else f"{value:.3f}"


def _difference(row: Json, value: float) -> str:
    return points(value) if NAMED[row["name"]].unit == "share" else signed(value)
