"""Pages that need nothing from elsewhere: one file, no script, light and dark, fit to print.

What people and models wrote is escaped here and nowhere trusted: the page's policy forbids
scripts and every address, so a mistake shows as text and does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d8dee4;--soft:#f6f8fa;
--quiet:#57606a;--blue:#3b82c4;--good:#1a7f4b;--bad:#b3261e;--good-soft:#b4e8c0;
--bad-soft:#ffd3cf}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#30363d;
--soft:#161b22;--quiet:#9198a1;--blue:#5aa2e0;--good:#56c886;--bad:#ff8a80;
--good-soft:#1f5130;--bad-soft:#5c2320}}
@media print{:root{color-scheme:light;--ink:#000;--paper:#fff;--line:#bbb;--soft:#f4f4f4;
--quiet:#444;--good:#0b5c31;--bad:#8c1d18;--good-soft:#d6f0dd;--bad-soft:#fbe0dd}}
body{font:16px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem;
color:var(--ink);background:var(--paper)}h1{font-size:1.6rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse}
td,th{padding:.25rem .9rem .25rem 0;text-align:left;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:anywhere}td.n,th.n{text-align:right;overflow-wrap:normal;
font-variant-numeric:tabular-nums}
svg text{font:12px system-ui,sans-serif;fill:var(--quiet)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.8rem;
border-radius:6px;font-size:.85rem}mark{background:var(--good-soft);color:inherit}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# what no text needs, and what would turn the words around it (U+2028 and the marks of direction)
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def document(title: str, parts: Iterable[str], *, style: str = "") -> str:
    """Return a page; `parts` is HTML whose texts went through `safe`."""
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{safe(title)}</title><style>{STYLE}{style}</style></head><body>\n"
        f"{body}\n</body></html>\n"
    )


def safe(text: object) -> str:
    """Return any text as HTML that shows it and does nothing else."""
    return escape(_UNSHOWN.sub("\ufffd", str(text)))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """Return a table of texts; the first `texts` columns are words, the others numbers."""
    lines = [
        _row(head, "th", texts),
        *(_row(row, "td", texts) for row in rows),
    ]
    return f"<table>{''.join(lines)}</table>"


def bars(values: Sequence[tuple[str, int]]) -> str:
    """Return counts as horizontal bars."""
    most = max((count for _, count in values), default=0) or 1
    lines = []
    for place, (label, count) in enumerate(values):
        y = 20 * place
        width = round(420 * count / most, 1)
        lines.append(
            f'<text x="90" y="{y + 13}" text-anchor="end">{safe(label)}</text>'
            f'<rect x="100" y="{y + 2}" width="{width}" height="14" fill="var(--blue)"/>'
            f'<text x="{106 + width}" y="{y + 13}">{count:,}</text>'
        )
    height = 20 * len(values)
    return f'<svg viewBox="0 0 620 {height}" width="620" height="{height}">{"".join(lines)}</svg>'


def _row(cells: Sequence[str], tag: str, texts: int) -> str:
    made = (
        f"<{tag}>{safe(cell)}</{tag}>"
        if place < texts
        else f'<{tag} class="n">{safe(cell)}</{tag}>'
        for place, cell in enumerate(cells)
    )
    return f"<tr>{''.join(made)}</tr>"
