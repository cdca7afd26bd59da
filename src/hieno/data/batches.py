"""Some rows of one file, read, checked, cleaned and measured: what each worker does.

What comes out depends on the rows and the settings alone. It is written under the batch's number,
so that an interrupted preparation goes on after the batches that are whole.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # rows of JSONL

from hieno.config import Data
from hieno.data import privacy
from hieno.data.chats import Reject, check, digest, normalised, shortened
from hieno.data.formats import Mapped, as_messages
from hieno.data.lengths import Length, Ruler, measure, open_ruler
from hieno.data.likeness import PERMUTATIONS, signature
from hieno.data.sources import Record, not_json

MOST_ROWS = 256
MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Batch:
    """Rows of one file, in order; `file` is the name that people are told."""

    number: int
    file: str
    held_out: bool
    mapped: Mapped
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Paths:
    """The files of one prepared batch; `done` is written last."""

    rows: Path
    rejects: Path
    finds: Path
    arrays: Path
    done: Path


@dataclass(frozen=True)
class _Kept:
    row: dict[str, Any]
    length: Length
    finds: list[dict[str, Any]]
    normalised: bool


def paths(folder: Path, number: int) -> Paths:
    """Return where a batch's results lie."""
    kinds = ("rows.jsonl", "rejects.jsonl", "finds.jsonl", "npz", "json")
    return Paths(*(folder / f"{number:07}.{kind}" for kind in kinds))


def setup(base: str, max_length: int, settings: dict[str, Any], folder: str) -> None:
    """Load what every batch of this process needs."""
    global _tools
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each worker is one of many
    ruler = open_ruler(Path(base), max_length)
    _tools = ruler, Data.model_validate(settings), Path(folder)


_tools: tuple[Ruler, Data, Path] | None = None


def prepare(batch: Batch) -> Reject | None:
    """Write a batch's results and return its first reject."""
    import numpy as np

    assert _tools is not None, "setup() comes first"  # noqa: S101
    ruler, settings, folder = _tools
    kept: list[_Kept] = []
    lines: list[int] = []
    rejects: list[Reject] = []
    for record in batch.records:
        found = _prepare_row(record, batch, ruler, settings)
        if isinstance(found, Reject):
            rejects.append(found)
        else:
            kept.append(found)
            lines.append(record.line)
    where = paths(folder, batch.number)
    _write(where.rows, [item.row for item in kept])
    _write(where.rejects, [reject.row() for reject in rejects])
    _write(where.finds, [find for item in kept for find in item.finds])
    digests = b"".join(digest(item.row) for item in kept)
    np.savez(
        where.arrays,
        line=np.array(lines, dtype=np.int64),
        digest=np.frombuffer(digests, dtype="<u8").reshape(-1, 2),
        signature=np.array(
            [signature(item.row["messages"]) for item in kept], dtype=np.uint32
        ).reshape(-1, PERMUTATIONS),
        tokens=np.array([item.length.tokens for item in kept], dtype=np.int32),
        supervised=np.array([item.length.supervised for item in kept], dtype=np.int32),
        turns=np.array(
            [sum(m["role"] == "assistant" for m in item.row["messages"]) for item in kept],
            dtype=np.int32,
        ),
    )
    finds = Counter(find["kind"] for item in kept for find in item.finds)
    summary = {
        "file": batch.file,
        "held_out": batch.held_out,
        "read": len(batch.records),
        "normalised": sum(item.normalised for item in kept),
        "finds": dict(sorted(finds.items())),
        "rejects": [(reject.line, reject.code) for reject in rejects],
    }
    partial = where.done.with_suffix(".partial")
    partial.write_text(json.dumps(summary), encoding="utf-8")
    os.replace(partial, where.done)
    return rejects[0] if rejects else None


def _prepare_row(record: Record, batch: Batch, ruler: Ruler, settings: Data) -> _Kept | Reject:
    text = ""

    def reject(code: str, problem: str) -> Reject:
        return Reject(batch.file, record.line, code, problem, shortened(text))

    if record.code:
        return reject(record.code, record.problem)
    value = record.value
    if record.raw is not None:
        text = record.raw.decode("utf-8", errors="replace").rstrip("\r\n")
        try:
            record.raw.decode("utf-8")
        except UnicodeDecodeError as error:
            return reject("not-utf8", f"byte {error.start + 1} of the line is not UTF-8")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            return reject("not-json", not_json(error))
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    shaped = as_messages(value, batch.mapped)
    if isinstance(shaped, tuple):
        return reject(*shaped)
    checked = check(shaped)
    if isinstance(checked, tuple):
        return reject(*checked)
    changed = False
    if settings.normalise:
        checked, changed = normalised(checked)
    cleaned, finds = _cleaned(checked, batch, record.line, settings)
    if cleaned is None:
        text = ""  # what was found must not be copied
        secret = any(find["family"] == privacy.SECRET and settings.secrets == "drop"
                     for find in finds)  # fmt: skip
        kinds = ", ".join(sorted({f"{find['kind']} in {find['where']}" for find in finds}))
        return reject("secret" if secret else "personal-data", f"it holds {kinds}")
    length = measure(ruler, cleaned)
    if isinstance(length, tuple):
        return reject(*length)
    return _Kept(cleaned, length, finds, changed)


def _cleaned(
    row: dict[str, Any], batch: Batch, line: int, settings: Data
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the row as it may be learnt (None: not at all), and what was found in it."""
    action = {privacy.SECRET: settings.secrets, privacy.PERSONAL: settings.personal}
    found: list[dict[str, Any]] = []
    messages = []
    for index, message in enumerate(row["messages"]):
        finds = privacy.scan(message["content"])
        for find in finds:
            place = {"file": batch.file, "line": line, "where": f"messages[{index}]"}
            about = {"family": find.family, "kind": find.kind, "done": action[find.family]}
            found.append({**place, **about})
        hidden = [find for find in finds if action[find.family] == "mask"]
        content = privacy.masked(message["content"], hidden)
        messages.append({**message, "content": content} if hidden else message)
    if any(find["done"] == "drop" for find in found):
        return None, found
    return {**row, "messages": messages}, found


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
