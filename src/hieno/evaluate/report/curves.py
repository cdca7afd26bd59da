"""The course of a training: its loss by step, and the held-out loss where it was measured."""

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
"""
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 220, 46, 24, 10
POINTS = 600  # of a curve; longer ones are thinned out
Json = Mapping[str, Any]
Point = tuple[float, float]


def curves(metrics: Sequence[Json], run: Json) -> str:
    """Return the curves as one picture, or a sentence where nothing was written down."""
    train = _points(metrics, "loss")
    test = _points(metrics, "test_loss")
    for step, name in ((0, "base_test_loss"), (run["steps"], "test_loss")):
        if run.get(name) is not None:
            test.append((float(step), float(run[name])))
    test = sorted(dict(test).items())
    if not train:
        return "<p>No step was written down.</p>"
    steps = max(step for step, _ in [*train, *test]) or 1.0
    most = max(loss for _, loss in [*train, *test]) or 1.0

    def at(point: Point) -> str:
        x = LEFT + (WIDTH - LEFT - 8) * point[0] / steps
        y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - point[1] / most)
        return f"{x:.1f},{y:.1f}"

    parts = [_axis(most, steps)]
    parts.append(f'<polyline class="train" points="{" ".join(map(at, _thinned(train)))}"/>')
    if test:
        parts.append(f'<polyline class="test" points="{" ".join(map(at, _thinned(test)))}"/>')
        for point in _thinned(test):
            x, y = at(point).split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3"/>')
    label = f"training loss over {steps:,.0f} steps"
    legend = "blue: loss of each step" + (", green: held-out loss" if test else "")
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{safe(label)}">{"".join(parts)}</svg><p>Loss in nats a token; {legend}.</p>'
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


def _axis(most: float, steps: float) -> str:
    parts = []
    for part in (0.0, 0.5, 1.0):
        y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - part)
        parts.append(
            f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y}" y2="{y}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{most * part:.2g}</text>'
        )
    parts.append(
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">step {steps:,.0f}</text>'
    )
    return "".join(parts)
