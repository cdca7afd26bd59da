"""The report of a dataset: one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any  # facts are JSON

from hieno.data.chats import HINTS
from hieno.data.inspection import Shown, inspect, sample, stretches
from hieno.page import bars, document, safe, table
from hieno.reporting import duration

EXAMPLES = 3
_STYLE = "td:first-child{min-width:9rem}"  # a code in one piece


def write_report(path: Path, facts: Mapping[str, Any], train: Path, model: Path) -> None:
    """Write the page of a dataset, with the first chats of `train` as the model learns them."""
    shown = inspect(model, sample(train, EXAMPLES))
    path.write_text(page(facts, shown), encoding="utf-8", newline="\n")


def page(facts: Mapping[str, Any], examples: Iterable[Shown]) -> str:
    """Return the page."""
    parts = [
        f"<h1>Dataset: {safe(str(facts['source']))}</h1>",
        _counts(facts),
        "<h2>Set aside</h2>",
        _rejects(facts["rejected_by_code"]),
        "<h2>Found in the texts</h2>",
        _pairs(facts["found"], "Nothing was found.", "kind", "places"),
        "<h2>Chats by length in tokens, up to</h2>",
        bars([(f"{edge:,}", count) for edge, count in facts["lengths"]]),
        "<h2>Chats by number of replies</h2>",
        bars(list(facts["turns"].items())),
        "<h2>Share held out, by number of replies</h2>",
        _strata(facts["held_out_by_turns"]),
        "<h2>Tokens</h2>",
        _tokens(facts),
        "<h2>What is learnt</h2>",
        "<p>Marked tokens count in the loss; the rest is what the model sees before it answers."
        "</p>",
        *map(_example, examples),
        "<h2>How the rows were understood</h2>",
        _pairs(facts["sources"], "", "source", "format"),
    ]
    return document(f"Dataset: {facts['source']}", parts, style=_STYLE)


def _counts(facts: Mapping[str, Any]) -> str:
    rows = facts["rows"]
    return table(
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
        f'<tr><td>{safe(code)}</td><td class="n">{count:,}</td><td>{safe(HINTS[code])}</td></tr>'
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
    return table(("tokens", ""), rows, texts=2)


def _strata(shares: Mapping[str, float]) -> str:
    return table(
        ("replies", "held out"), [(label, f"{share:.1%}") for label, share in shares.items()]
    )


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
        f"<mark>{safe(text)}</mark>" if supervised else safe(text)
        for text, supervised, _ in stretches(shown)
    )
    count = len(shown.tokens)
    return f"<p>{shown.supervised:,} of {count:,} tokens ({shown.share:.0%})</p><pre>{text}</pre>"


def _pairs(values: Mapping[str, Any], none: str, left: str, right: str) -> str:
    if not values:
        return f"<p>{safe(none)}</p>"
    texts = 1 if all(isinstance(value, int) for value in values.values()) else 2
    return table((left, right), [(name, str(value)) for name, value in values.items()], texts=texts)
