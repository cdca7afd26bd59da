"""The first pass: files and hub sets cut into batches, and all cores at work on them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any  # settings are JSON

from hieno.config import Data
from hieno.data import batches, hub, workers
from hieno.data.batches import MOST_BYTES, MOST_ROWS, Batch
from hieno.data.chats import check
from hieno.data.feedback import latest
from hieno.data.formats import Mapped, as_messages, detect
from hieno.data.sources import HubSet, Record, read_file
from hieno.reporting import Reporter
from hieno.stages import StagePlan

LOOKED_AT = 20  # rows from which a format is told
SHOWN = 3
ALIKE = 5  # files of one mapping that are shown; the report has all
_WIDTH = 60


@dataclass
class Intake:
    """What was read: the folder of prepared batches, how many, and each source's mapping."""

    folder: Path
    source: str
    batches: int = 0
    mappings: dict[str, str] = field(default_factory=dict)


@dataclass
class _Reading:
    """How far the reading is, in bytes (or rows, of a hub set)."""

    unit: str
    total: float = 0
    before: float = 0
    here: float = 0
    rows: int = 0
    began: float = field(default_factory=time.monotonic)


def read_batches(
    plan: StagePlan, settings: Data, model: Path, work: Path, reporter: Reporter
) -> Intake:
    """Prepare every batch that an interrupted run has not; raise the first reject if strict."""
    told = plan.settings
    intake = Intake(work, told["shown"])
    reading = _Reading("rows" if told.get("hub") else "MB")
    cut = _cut(plan, settings, intake, reading, reporter)
    missing = (batch for batch in cut if not batches.paths(work, batch.number).done.is_file())
    results = workers.ordered(
        batches.prepare,
        missing,
        setup=batches.setup,
        arguments=(str(model), told["max_length"], settings.model_dump(), str(work)),
        workers=settings.workers or workers.cores(),
    )
    for reject in results:
        if settings.strict and reject:
            raise reject.error()
        _progress(reading, reporter)
    return intake


def _cut(
    plan: StagePlan, settings: Data, intake: Intake, reading: _Reading, reporter: Reporter
) -> Iterator[Batch]:
    if other := plan.settings["unread"]:
        more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        reporter.say(f"not read, as their names end otherwise: {', '.join(other[:SHOWN])}{more}")
    streams = list(_streams(plan, reading, reporter))
    reading.total = sum(size for *_, size in streams)
    for shown, held_out, records, size in streams:
        head = list(islice(records, LOOKED_AT))
        mapped = detect(map(_value, head), format=settings.format, columns=settings.columns)
        intake.mappings[shown] = str(mapped)
        for line in _understood(shown, mapped, head, intake):
            reporter.say(line)
        found = chain(head, records)
        for rows in _pieces(latest(found) if mapped.format == "feedback" else found):
            reading.rows += len(rows)
            yield Batch(intake.batches, shown, held_out, mapped, rows)
            intake.batches += 1
        reading.before, reading.here = reading.before + size, 0


def _streams(
    plan: StagePlan, reading: _Reading, reporter: Reporter
) -> Iterator[tuple[str, bool, Iterator[Record], float]]:
    """Yield (shown name, held out, rows, size) of each source; held-out files come first."""

    def note(done: float) -> None:
        reading.here = done

    def counted(rows: Iterator[Record]) -> Iterator[Record]:
        for number, record in enumerate(rows, start=1):
            note(number)
            yield record

    for role in ("tests", "sources"):
        for path, shown in plan.settings[role]:
            size = Path(path).stat().st_size
            yield shown, role == "tests", read_file(Path(path), on_bytes=note), size
    if wanted := plan.settings.get("hub"):
        dataset = hub.load(HubSet(**wanted), reporter)
        yield plan.settings["shown"], False, counted(hub.rows(dataset)), len(dataset)


def _pieces(records: Iterator[Record]) -> Iterator[tuple[Record, ...]]:
    piece: list[Record] = []
    size = 0
    for record in records:
        piece.append(record)
        size += len(record.raw) if record.raw is not None else 4096
        if len(piece) == MOST_ROWS or size >= MOST_BYTES:
            yield tuple(piece)
            piece, size = [], 0
    if piece:
        yield tuple(piece)


def _value(record: Record) -> Any:
    if record.raw is None:
        return record.value
    try:
        return json.loads(record.raw)
    except (ValueError, RecursionError):
        return None


def _understood(shown: str, mapped: Mapped, head: list[Record], intake: Intake) -> Iterator[str]:
    """Yield the mapping, and the first rows as they are understood; of many alike the first few."""
    if not head:
        yield f"{shown}: no rows"
        return
    if list(intake.mappings.values()).count(str(mapped)) > ALIKE:
        return
    yield f"{shown}: {mapped}"
    count = 0
    for record in head:
        shaped = as_messages(_value(record), mapped)
        row = shaped if isinstance(shaped, tuple) else check(shaped)
        if isinstance(row, dict) and count < SHOWN:
            count += 1
            turns = [f"{m['role']}: {_brief(m['content'])}" for m in row["messages"][:3]]
            yield f"  row {record.line}  " + "  ".join(turns)


def _brief(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _WIDTH else flat[: _WIDTH - 3] + "..."


def _progress(reading: _Reading, reporter: Reporter) -> None:
    small = reading.unit == "MB" and reading.total < 1e7
    scale = {"MB": 1e3 if small else 1e6}.get(reading.unit, 1)
    rate = reading.rows / max(time.monotonic() - reading.began, 1e-3)
    reporter.progress(
        (reading.before + reading.here) / scale,
        reading.total / scale,
        "kB" if small else reading.unit,
        f"{reading.rows:,} chats, {rate:,.0f} a second",
    )
