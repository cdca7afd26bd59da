"""The report of an evaluation: one page for whoever decides, and for whoever has to mend it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any  # reports and facts are JSON

from hieno.evaluate.gate import points
from hieno.evaluate.intervals import LEAST
from hieno.evaluate.report.cases import CASES_STYLE, cases
from hieno.evaluate.report.changes import CHANGES_STYLE, changes, topics, verdict
from hieno.evaluate.report.curves import CURVES_STYLE, curves
from hieno.page import document, table

Json = Mapping[str, Any]


def write_report(
    path: Path,
    report: Json,
    rows: Sequence[Json],
    *,
    package: Json,
    metrics: Sequence[Json],
) -> None:
    """Write the page of an evaluation.

    `rows` are those of `answers.jsonl`, `package` the facts of the tuned package (with its base,
    run and dataset), `metrics` the steps of its training.
    """
    path.write_text(page(report, rows, package, metrics), encoding="utf-8", newline="\n")


def page(report: Json, rows: Sequence[Json], package: Json, metrics: Sequence[Json]) -> str:
    """Return the page."""
    name = package["name"]
    return document(
        f"{name}: {report['verdict']['word']}",
        _parts(report, rows, package, metrics),
        style=CHANGES_STYLE + CASES_STYLE + CURVES_STYLE,
    )


def _parts(
    report: Json, rows: Sequence[Json], package: Json, metrics: Sequence[Json]
) -> Iterator[str]:
    yield verdict(report, package["name"])
    yield "<h2>What changed</h2>"
    yield changes(report, "base", "base")
    if "champion" in report["differences"]:
        yield f"<h2>Against the champion, version {int(report['champion'])}</h2>"
        yield changes(report, "champion", "champion")
    if report.get("judge"):
        yield "<h2>What the judge prefers</h2>"
        yield _preferences(report["judge"])
    if found := topics(rows):
        yield "<h2>General questions by topic</h2>"
        yield found
    yield cases(rows)
    yield "<h2>Training</h2>"
    yield curves(metrics, package["run"])
    yield _settings(package)
    yield "<h2>Data</h2>"
    yield _data(package["dataset"])
    yield "<h2>How it was measured</h2>"
    yield from _method(report)


def _preferences(judge: Json) -> str:
    sure = "too few for an interval"
    if judge["low"] is not None:
        sure = f"{points(judge['low'])} to {points(judge['high'])} points"
    return table(
        ("pairs, each judged in both orders", ""),
        [
            ("judge", str(judge["model"])),
            ("the tuned reply is better", f"{judge['won']:,} of {judge['asked']:,}"),
            ("even, or not the same in both orders", f"{judge['even']:,}"),
            ("the base's reply is better", f"{judge['lost']:,}"),
            ("balance, 95% interval", sure),
        ],
    )


def _settings(package: Json) -> str:
    run, base = package["run"], package["base"]
    settings = run["settings"]
    return table(
        ("setting", ""),
        [
            ("base", f"{base.get('source', '?')} ({base.get('licence') or 'licence unknown'})"),
            ("method", f"{settings['method']}, rank {settings['rank']}"),
            ("learning rate", f"{settings['learning_rate']:g}"),
            ("epochs, steps", f"{settings['epochs']:g}, {run['steps']:,}"),
            ("chats a step", f"{settings['batch_size']:,}"),
            ("seconds", f"{run['seconds']:,.0f}"),
            ("run", run["key"][:12]),
        ],
    )


def _data(dataset: Json) -> str:
    rows = dataset["rows"]
    tokens = dataset.get("train_tokens", {})
    aside = ", ".join(f"{count:,} {code}" for code, count in dataset["rejected_by_code"].items())
    return table(
        ("rows", ""),
        [
            ("source", str(dataset.get("source", "?"))),
            ("to learn", f"{rows['train']:,}"),
            ("held out", f"{rows['test']:,}"),
            ("replayed answers", f"{rows['replay']:,}"),
            ("set aside", f"{rows['rejected']:,}" + (f" ({aside})" if aside else "")),
            ("tokens to learn from", f"{tokens['total']:,}" if tokens else "?"),
            ("dataset", dataset["digest"][:12]),
        ],
    )


def _method(report: Json) -> Iterator[str]:
    counts = report["counts"]
    yield (
        f"<p>{counts['turns']:,} replies of {counts['chats']:,} held-out chats, "
        f"{counts['general']:,} general questions and {counts['texts']:,} plain texts, the same for"
        " each model. Answers are greedy, through the engine that serves. Differences are of pairs,"
        " the chat being the unit. Intervals are of 95%: Wald&#x27;s with three quarters of a pair"
        " added to each cell for rates, Student&#x27;s of a ratio for the rest; there is none with"
        f" fewer than {LEAST} units.</p>"
        "<p>All questions with all replies are in answers.jsonl, all numbers in report.json, beside"
        " this page.</p>"
    )
