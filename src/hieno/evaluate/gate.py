"""The gate: may this model serve? It says no with reasons, and in one sentence how it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any  # scores are JSON

from hieno.config import Gate
from hieno.evaluate.comparison import of, primary
from hieno.evaluate.intervals import LEAST
from hieno.evaluate.measures import NAMED

Row = Mapping[str, Any]
Refusal = tuple[str, bool]  # the reason, and whether the model is proven to be worse in it
OPENINGS = {"better": "Better", "worse": "Worse", "unproven": "Not proven better"}


@dataclass(frozen=True)
class Judgement:
    """`word` is better, worse or unproven; `passed` is what the gate says."""

    passed: bool
    word: str
    sentence: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    scores: Mapping[str, Mapping[str, Any]],
    against: Mapping[str, list[dict[str, Any]]],
    gate: Gate,
) -> Judgement:
    """Hold a tuned model's differences to its base, and to the champion, against the thresholds.

    Worse is what is proven to be worse in something that the gate asks for; better is what passes.
    """
    base = against["base"]
    name = primary(scores["tuned"])
    lead = of(base, name) if name else None
    refusals = [
        *_not_better(lead, gate),
        *_mixes_up(lead, of(base, "mixed_up"), gate),
        *_behind(of(against.get("champion", []), name) if name else None, gate),
        *_forgot(of(base, "general"), of(base, "text_loss"), gate),
        *_leaks(of(base, "leaked"), gate),
        *_never_stops(scores["tuned"]["stopped"], gate),
    ]
    reasons = tuple(text for text, _ in refusals)
    proven = any(sure for _, sure in refusals)
    word = "worse" if proven else "unproven" if reasons else "better"
    parts = reasons or tuple(shown(row) for row in (lead, of(base, "general")) if row)
    return Judgement(
        passed=not reasons,
        word=word,
        sentence=f"{OPENINGS[word]}: {'; '.join(parts) or 'nothing was held out'}.",
        reasons=reasons,
        notes=tuple(_notes(lead)),
    )


def shown(row: Row) -> str:
    """Return a compared measure in words: before, after, and the interval of the difference."""
    share = NAMED[row["name"]].unit == "share"
    before, after = (f"{row[when]:{'.0%' if share else '.2f'}}" for when in ("before", "after"))
    text = f"{NAMED[row['name']].label} {before} -> {after}"
    if row["low"] is None:
        return text
    low, high = (points(row[end]) if share else signed(row[end]) for end in ("low", "high"))
    return f"{text} (95% sure of {low} to {high}{' points' if share else ''})"


def points(share: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.1f}"


def signed(value: float) -> str:
    """Return a difference of other numbers, with its sign."""
    return f"{value:+.2f}"


def _not_better(lead: Row | None, gate: Gate) -> Iterator[Refusal]:
    if lead is None or _gain(lead) > gate.min_gain:
        return
    least = f", and more than {points(gate.min_gain)} was asked" if gate.min_gain else ""
    yield f"not better than its base: {shown(lead)}{least}", lead["change"] == "worse"


def _mixes_up(lead: Row | None, mixed: Row | None, gate: Gate) -> Iterator[Refusal]:
    """Among many facts some are right by chance; what counts is what the others are.

    An answer that belongs to another question misleads where none at all does not.
    """
    if lead is None or mixed is None or mixed["change"] != "worse":
        return
    if _gain(lead) <= gate.min_gain or mixed["after"] > lead["after"]:
        yield f"it mixes facts up: {shown(mixed)}", True


def _gain(lead: Row) -> float:
    """Return what is certain of the gain; where there are too few chats, the estimate."""
    low = lead["low"]
    return float(lead["difference"] if low is None else low)


def _behind(lead: Row | None, gate: Gate) -> Iterator[Refusal]:
    if lead and lead["difference"] < -gate.max_behind:
        yield f"behind the champion: {shown(lead)}", lead["change"] == "worse"


def _forgot(known: Row | None, text: Row | None, gate: Gate) -> Iterator[Refusal]:
    """A loss that chance explains is none, where there are questions enough to tell."""
    if known and known["difference"] < -gate.max_forgotten:
        proven = known["change"] == "worse"
        if proven or known["high"] is None:
            yield f"it forgot: {shown(known)}", proven
    if text and text["difference"] > gate.max_text_loss:
        yield f"it forgot: {shown(text)}", text["change"] == "worse"


def _leaks(row: Row | None, gate: Gate) -> Iterator[Refusal]:
    if row and row["difference"] > gate.max_leaked:
        yield f"facts leak: {shown(row)}", row["change"] == "worse"


def _never_stops(share: float | None, gate: Gate) -> Iterator[Refusal]:
    if share is not None and share < gate.min_stopped:
        yield f"it does not end: {share:.0%} of its replies end by themselves", False


def _notes(lead: Row | None) -> Iterator[str]:
    if lead and lead["low"] is None:
        yield (
            f"{lead['units']} held-out chats are too few for a proof: with {LEAST} and more, the"
            " gate asks for an interval that excludes zero"
        )
