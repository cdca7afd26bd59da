"""The report of a batch: one HTML page that needs no network and runs no script."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any  # metrics are the evaluation flow's

from hieno.files import write_atomic
from hieno.flow.results import Batch
from hieno.flow.rows import Row

SHOWN = 1000  # lines; the file of answers holds them all
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;
color:#1b1f24;background:#fff}h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .9rem .3rem 0;text-align:left;
border-bottom:1px solid #d8dee4;vertical-align:top;overflow-wrap:anywhere;white-space:pre-wrap}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
tr.failed td{background:#ffebe9}table.few{width:auto}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{
border-color:#30363d}tr.failed td{background:#3d1418}}
"""


def write(path: Path, batch: Batch, data: Path, metrics: Mapping[str, Any] | None) -> None:
    """Write the page of a batch, with the metrics of its evaluation where there is one."""
    write_atomic(path, page(batch, data.name, metrics))


def page(batch: Batch, name: str, metrics: Mapping[str, Any] | None) -> str:
    """Return the page: counts, metrics, the lines that failed, all lines."""
    failed = [row for row in batch.rows if _error(batch, row) is not None]
    parts = [
        f"<h1>{escape(name)}: {batch.answered:,} of {len(batch.rows):,} lines answered</h1>",
        _pairs(_counts(batch)),
    ]
    if metrics:
        parts += ["<h2>Metrics</h2>", _pairs([(key, _number(n)) for key, n in metrics.items()])]
    if failed:
        parts += ["<h2>Failed</h2>", _lines(batch, failed)]
    parts += ["<h2>Lines</h2>", _lines(batch, batch.rows)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        # Answers are the model's: whatever they hold, nothing of it runs or is fetched.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(name)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _counts(batch: Batch) -> list[tuple[str, str]]:
    times = sorted(each.seconds for each in batch.results.values() if each.error is None)
    counts = [
        ("answered", f"{batch.answered:,}"),
        ("failed", f"{batch.failed:,}"),
        ("not asked", f"{batch.unasked:,}"),
    ]
    if times:
        last = times[min(len(times) - 1, int(len(times) * 0.95))]
        counts += [("median", f"{statistics.median(times):.2f} s"), ("95%", f"{last:.2f} s")]
    return counts


def _lines(batch: Batch, rows: Any) -> str:
    head = "<tr><th class=n>line</th><th>question</th><th>answer</th><th>expected</th>"
    cells = [_line(batch, row) for row in rows[:SHOWN]]
    rest = len(rows) - len(cells)
    more = f"<p>{rest:,} more lines are in the file of answers.</p>" if rest > 0 else ""
    return f"<table>{head}<th class=n>seconds</th></tr>{''.join(cells)}</table>{more}"


def _line(batch: Batch, row: Row) -> str:
    result, error = batch.results.get(row.line), _error(batch, row)
    answer = batch.answer(row) if error is None else error
    seconds = f"{result.seconds:.2f}" if result else ""
    texts = (str(row.inputs.get(batch.shape.question, "")), answer, row.expected or "")
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    kind = ' class="failed"' if error is not None else ""
    return f"<tr{kind}><td class=n>{row.line}</td>{cells}<td class=n>{seconds}</td></tr>\n"


def _error(batch: Batch, row: Row) -> str | None:
    result = batch.results.get(row.line)
    return "not asked" if result is None else result.error


def _pairs(pairs: Any) -> str:
    rows = "".join(f"<tr><th>{escape(k)}</th><td class=n>{escape(v)}</td></tr>" for k, v in pairs)
    return f'<table class="few">{rows}</table>'


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
