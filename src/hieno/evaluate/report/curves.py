"""The course of a training by step: its losses, and below them what else was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any  # metrics are JSON

from hieno.page import safe

CURVES_STYLE = """
.curve{width:100%;height:auto;max-width:46rem}.curve .axis{stroke:var(--line)}
.curve .train{stroke:var(--blue);fill:none;stroke-width:1.5}
.curve .test{stroke:var(--good);fill:none;stroke-width:2}
.curve circle{fill:var(--good)}
.small{display:flex;flex-wrap:wrap;gap:1rem;max-width:46rem}.small figure{flex:1 1 20rem;margin:0}
"""
LEFT, BOTTOM, TOP = 46, 24, 10
LARGE, LITTLE = (720, 220), (352, 110)  # width and height of a picture
SMALL = (
    ("learning_rate", "learning rate"),
    ("grad_norm", "norm of the gradient, before it is clipped"),
    ("tokens_per_second", "tokens a second, on average so far"),
    ("memory_gb", "memory in GB"),
)
POINTS = 600  # of a curve; longer ones are thinned out
Json = Mapping[str, Any]
Point = tuple[float, float]
Size = tuple[int, int]


def curves(metrics: Sequence[Json], run: Json) -> str:
    """Return the curves as pictures, or a sentence where nothing was written down."""
    train = _points(metrics, "loss")
    test = _points(metrics, "test_loss")
    for step, name in ((0, "base_test_loss"), (run["steps"], "test_loss")):
        if run.get(name) is not None:
            test.append((float(step), float(run[name])))
    test = sorted(dict(test).items())
    if not train:
        return "<p>No step was written down.</p>"
    steps = max(step for step, _ in [*train, *test])
    legend = "blue: loss of each step" + (", green: held-out loss" if test else "")
    losses = _picture(f"training loss over {steps:,.0f} steps", {"train": train, "test": test})
    small = [
        f"<figure>{_picture(title, {'train': points}, LITTLE)}"
        f"<figcaption>{safe(title)}</figcaption></figure>"
        for name, title in SMALL
        if (points := _points(metrics, name))
    ]
    return f"{losses}<p>Loss in nats a token; {legend}.</p>" + (
        f'<div class="small">{"".join(small)}</div>' if small else ""
    )


def _picture(title: str, lines: Mapping[str, Sequence[Point]], size: Size = LARGE) -> str:
    """Return lines over the same steps, by their class in the style; held-out ones have dots."""
    width, height = size
    every = [point for points in lines.values() for point in points]
    steps = max(step for step, _ in every) or 1.0
    most = max(value for _, value in every) or 1.0

    def at(point: Point) -> tuple[float, float]:
        x = LEFT + (width - LEFT - 8) * point[0] / steps
        return x, TOP + (height - TOP - BOTTOM) * (1 - point[1] / most)

    parts = [_axis(most, steps, size)]
    for kind, points in lines.items():
        if not points:
            continue
        places = [at(point) for point in _thinned(points)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="{kind}" points="{joined}"/>')
        if kind == "test":
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
    return (
        f'<svg class="curve" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{safe(title)}">{"".join(parts)}</svg>'
    )


def _points(metrics: Sequence[Json], name: str) -> list[Point]:
    return [
        (float(row["step"]), float(row[name]))
        for row in metrics
        if row.get(name) is not None and math.isfinite(row[name])
    ]


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    stride = math.ceil(len(points) / POINTS)
    return points if stride <= 1 else [*points[::stride], points[-1]]


def _axis(most: float, steps: float, size: Size) -> str:
    (width, height), parts = size, []
    for part in (0.0, 0.5, 1.0):
        y = TOP + (height - TOP - BOTTOM) * (1 - part)
        parts.append(
            f'<line class="axis" x1="{LEFT}" x2="{width - 8}" y1="{y}" y2="{y}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{most * part:.2g}</text>'
        )
    parts.append(
        f'<text x="{width - 8}" y="{height - 6}" text-anchor="end">step {steps:,.0f}</text>'
    )
    return "".join(parts)
