"""The report of a dataset: one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any  # facts are JSON

from hieno.data.chats import HINTS
from hieno.data.inspection import Shown, inspect, sample, stretches
from hieno.reporting import duration

EXAMPLES = 3
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem;
color:#1b1f24;background:#fff}h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}
table{border-collapse:collapse}td,th{padding:.25rem .9rem .25rem 0;text-align:left;
border-bottom:1px solid #d8dee4;vertical-align:top}td.n,th.n{text-align:right;
font-variant-numeric:tabular-nums}svg text{font:12px system-ui,sans-serif;fill:#57606a}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f8fa;padding:.8rem;
border-radius:6px;font-size:.85rem}mark{background:#b4e8c0;color:#0b3d1a}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{
border-color:#30363d}pre{background:#161b22}mark{background:#1f5130;color:#d3f5dc}
svg text{fill:#9198a1}}
"""


def write_report(path: Path, facts: Mapping[str, Any], train: Path, model: Path) -> None:
    """Write the page of a dataset, with the first chats of `train` as the model learns them."""
    shown = inspect(model, sample(train, EXAMPLES))
    path.write_text(page(facts, shown), encoding="utf-8", newline="\n")


def page(facts: Mapping[str, Any], examples: Iterable[Shown]) -> str:
    """Return the page."""
    parts = [
        f"<h1>{escape(str(facts['source']))}</h1>",
        _counts(facts),
        "<h2>Set aside</h2>",
        _rejects(facts["rejected_by_code"]),
        "<h2>Found in the texts</h2>",
        _pairs(facts["found"], "Nothing was found.", "kind", "places"),
        "<h2>Length in tokens</h2>",
        _bars([(f"{edge:,}", count) for edge, count in facts["lengths"]]),
        "<h2>Replies in a chat</h2>",
        _bars(list(facts["turns"].items())),
        "<h2>Tokens</h2>",
        _tokens(facts),
        "<h2>What is learnt</h2>",
        "<p>Marked tokens count in the loss; the rest is what the model sees before it answers."
        "</p>",
        *map(_example, examples),
        "<h2>How the rows were understood</h2>",
        _pairs(facts["sources"], "", "source", "format"),
    ]
    title = escape(f"Dataset: {facts['source']}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _counts(facts: Mapping[str, Any]) -> str:
    rows = facts["rows"]
    return _table(
        ("rows", ""),
        [
            ("read", f"{facts['read']:,}"),
            ("to learn", f"{rows['train']:,}"),
            ("held out", f"{rows['test']:,}"),
            ("set aside", f"{rows['rejected']:,}"),
            ("replayed answers added", f"{rows['replay']:,}"),
            ("brought into NFC", f"{facts['normalised']:,}"),
            ("pairs of near-duplicates", f"{facts['near_pairs']:,}"),
        ],
    )


def _rejects(codes: Mapping[str, int]) -> str:
    if not codes:
        return "<p>None.</p>"
    ordered = sorted(codes.items(), key=lambda item: -item[1])
    head = '<tr><th>code</th><th class="n">rows</th><th>what to do</th></tr>'
    body = "".join(
        f'<tr><td>{escape(code)}</td><td class="n">{count:,}</td>'
        f"<td>{escape(HINTS[code])}</td></tr>"
        for code, count in ordered
    )
    return f"<table>{head}{body}</table><p>Each with its place in rejected.jsonl.</p>"


def _tokens(facts: Mapping[str, Any]) -> str:
    steps, packing = facts["steps"], facts["packing"]
    rows = []
    for side, label in (("train", "to learn"), ("test", "held out")):
        counts = facts[f"{side}_tokens"]
        share = f", {counts['share']:.1%} of them supervised" if counts["share"] else ""
        rows.append((label, f"{counts['total']:,}{share}"))
        rows.append(
            (f"{label}, median and longest", f"{counts['median']:,}, {counts['longest']:,}")
        )
    filled = "?" if packing["filled"] is None else f"{packing['filled']:.1%}"
    rows.append((f"rows of {packing['length']:,} tokens, packed best fit", f"{filled} filled"))
    rows.append(
        (
            "optimiser steps",
            f"{steps['total']:,} ({steps['per_epoch']:,} an epoch at batch size"
            f" {steps['batch_size']}, {steps['epochs']:g} epochs; as set when this was made)",
        )
    )
    rows.append(("time to train, reckoned", _time(facts["training"])))
    rows += [
        (f"held out of chats with {label} replies", f"{share:.1%}")
        for label, share in facts["held_out_by_turns"].items()
    ]
    return _table(("tokens", ""), rows)


def _time(training: Mapping[str, Any]) -> str:
    if training["seconds"] is None:
        return f"? ({training['operations']:.1e} operations; `hieno train --plan` times it)"
    return (
        f"about {duration(training['seconds'])} on this machine, by its rate of matrix products"
        f" ({training['operations']:.1e} operations, {training['method']});"
        " `hieno train --plan` times it"
    )


def _example(shown: Shown) -> str:
    text = "".join(
        f"<mark>{escape(text)}</mark>" if supervised else escape(text)
        for text, supervised, _ in stretches(shown)
    )
    count = len(shown.tokens)
    return f"<p>{shown.supervised:,} of {count:,} tokens ({shown.share:.0%})</p><pre>{text}</pre>"


def _pairs(values: Mapping[str, Any], none: str, left: str, right: str) -> str:
    if not values:
        return f"<p>{escape(none)}</p>"
    return _table((left, right), [(name, str(value)) for name, value in values.items()])


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(f'<tr><td>{escape(a)}</td><td class="n">{escape(b)}</td></tr>' for a, b in rows)
    first, second = map(escape, head)
    return f'<table><tr><th>{first}</th><th class="n">{second}</th></tr>{body}</table>'


def _bars(values: list[tuple[str, int]]) -> str:
    most = max((count for _, count in values), default=0) or 1
    lines = []
    for place, (label, count) in enumerate(values):
        y = 20 * place
        width = round(420 * count / most, 1)
        lines.append(
            f'<text x="90" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="100" y="{y + 2}" width="{width}" height="14" fill="#3b82c4"/>'
            f'<text x="{106 + width}" y="{y + 13}">{count:,}</text>'
        )
    height = 20 * len(values)
    return f'<svg viewBox="0 0 620 {height}" width="620" height="{height}">{"".join(lines)}</svg>'
