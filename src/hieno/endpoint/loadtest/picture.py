"""A load test as one SVG: throughput and percentiles of the latency over the load.

It needs nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hieno.endpoint.loadtest.run import Level, Report

WIDTH, HEIGHT = 860, 620
LEFT, RIGHT, PANEL, GAP, TOP = 70, 130, 200, 80, 70
COLOURS = ("#2a78b5", "#d9822b", "#b23b3b")
Curve = tuple[str, Sequence[float | None]]


def picture(report: Report) -> str:
    """Return the picture of a report."""
    levels = report.levels
    labels = [f"{level.load:g}" + ("/s" if level.kind == "rate" else "") for level in levels]
    title = f"{report.model}: answers of up to {report.max_new_tokens} tokens"
    rates = [level.requests_per_second for level in levels]
    panels = [
        _panel(TOP, "answers per second", labels, [("", rates)]),
        _panel(TOP + PANEL + GAP, "seconds until the answer is whole", labels, _latencies(levels)),
    ]
    note = "load: requests at a time, or arrivals per second (/s)"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="13">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            _text(LEFT, 32, title, size=17),
            *panels,
            _text(LEFT, HEIGHT - 14, note, colour="#666666"),
            "</svg>",
            "",
        ]
    )


def _latencies(levels: Sequence[Level]) -> list[Curve]:
    return [
        (name, [getattr(one.latency, name) if one.latency else None for one in levels])
        for name in ("p50", "p95", "p99")
    ]


def _panel(top: int, title: str, labels: Sequence[str], curves: Sequence[Curve]) -> str:
    most = max((value for _, values in curves for value in values if value), default=1.0)
    parts = [_text(LEFT, top - 10, title)]
    for part in (0, 0.5, 1):
        height = top + PANEL * (1 - part)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height}" y2="{height}" stroke="#dddddd"/>'
        )
        parts.append(_text(LEFT - 8, height + 4, f"{most * part:.3g}", anchor="end"))
    for index, label in enumerate(labels):
        parts.append(_text(_x(index, labels), top + PANEL + 20, label, anchor="middle"))
    for colour, (name, values) in zip(COLOURS, curves, strict=False):
        points = [
            (_x(index, labels), top + PANEL * (1 - value / most))
            for index, value in enumerate(values)
            if value is not None
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points]
        if points and name:
            x, y = points[-1]
            parts.append(_text(x + 10, y + 4, name, colour=colour))
    return "\n".join(parts)


def _x(index: int, labels: Sequence[str]) -> float:
    return LEFT + (WIDTH - RIGHT - LEFT) * (index + 0.5) / len(labels)


def _text(
    x: float, y: float, text: str, *, size: int = 13, colour: str = "#222222", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
