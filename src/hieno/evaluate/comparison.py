"""Scores of each model, and the tuned one's paired differences to another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any  # scores are JSON

from hieno.evaluate.intervals import Interval, Sample, mean, paired
from hieno.evaluate.measures import MEASURES, Measure

Samples = Mapping[str, Sample]
COUNTED = ("facts", "general")  # shown as right of so many


def scores(samples: Samples) -> dict[str, Any]:
    """Return one model's scores: shares are 0..1, losses in nats a token, None what has no value.

    `bleed` counts the general answers that hold a fact of the held-out chats.
    """
    found: dict[str, Any] = {}
    for measure in MEASURES:
        sample = samples.get(measure.name, {})
        if measure.name in COUNTED:
            found[measure.name] = _share(sample)
        else:
            value = mean(sample)
            found[measure.name] = None if value is None else round(value, 6)
    found["bleed"] = round(sum(value for value, _ in samples.get("leaked", {}).values()))
    for loss, perplexity in (("loss", "perplexity"), ("text_loss", "text_perplexity")):
        found[perplexity] = None if found[loss] is None else round(_exp(found[loss]), 4)
    return found


def differences(before: Samples, after: Samples) -> list[dict[str, Any]]:
    """Return the measures that both models have values for, with the interval of the difference.

    `change` is "better" or "worse" where the interval excludes zero, else "".
    """
    rows = []
    for measure in MEASURES:
        old, new = before.get(measure.name, {}), after.get(measure.name, {})
        found = paired(old, new, yes_no=measure.yes_no)
        if found is not None:
            rows.append(_row(measure, old, new, found))
    return rows


def primary(scores: Mapping[str, Any]) -> str | None:
    """Return the measure that decides: right answers where chats name them, else shared words."""
    if scores["facts"]["of"]:
        return "facts"
    return None if scores["token_f1"] is None else "token_f1"


def score_of(report: Mapping[str, Any]) -> float:
    """Return one number for a tuned model, higher being better, to compare trainings by.

    It is the deciding score on the held-out chats (0..1), less what the model lost of its general
    knowledge and what leaks into it, as shares. A report without held-out chats scores the
    negative loss, and one without that is nan.
    """
    base, tuned = report["scores"]["base"], report["scores"]["tuned"]
    name = primary(tuned)
    if name is None:
        return math.nan if tuned["loss"] is None else -float(tuned["loss"])
    value = float(tuned[name]["share"] if name in COUNTED else tuned[name])
    if tuned["general"]["of"]:
        value -= max(0.0, base["general"]["share"] - tuned["general"]["share"])
        value -= max(0.0, tuned["leaked"] - base["leaked"])
    return value


def of(rows: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Return the row of a measure, if it was compared."""
    return next((row for row in rows if row["name"] == name), None)


def _row(measure: Measure, old: Sample, new: Sample, found: Interval) -> dict[str, Any]:
    change = ""
    if measure.better and (found.above_zero or found.below_zero):
        higher = measure.better == "higher"
        change = "better" if found.above_zero is higher else "worse"
    return {
        "name": measure.name,
        "before": mean({unit: old[unit] for unit in old.keys() & new.keys()}),
        "after": mean({unit: new[unit] for unit in old.keys() & new.keys()}),
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "units": found.units,
        "method": found.method,
        "change": change,
    }


def _share(sample: Sample) -> dict[str, Any]:
    right = round(sum(value for value, _ in sample.values()))
    of = round(sum(weight for _, weight in sample.values()))
    return {"right": right, "of": of, "share": round(right / of, 4) if of else None}


def _exp(loss: float) -> float:
    return math.exp(min(loss, 700.0))  # beyond that a float ends
