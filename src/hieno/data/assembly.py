"""The second pass: chats compared with each other, divided, and copied to their files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any  # Any: rows of JSONL

from hieno.config import Data
from hieno.data import batches
from hieno.data.chats import Reject, digest, shortened
from hieno.data.intake import Intake
from hieno.data.likeness import PERMUTATIONS
from hieno.data.split import ASIDE, NEW, REASONS, TEST, TRAIN, Division, divide, repeats
from hieno.files import read_jsonl
from hieno.reporting import Reporter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = {TRAIN: "train", TEST: "test"}


@dataclass
class Assembled:
    """What was written, and of each kept chat its tokens, supervised tokens, turns and side."""

    rows: dict[str, int]
    rejected_by_code: dict[str, int]
    read: int
    normalised: int
    found: dict[str, int]
    near_pairs: int
    first_rejects: list[dict[str, Any]] = field(default_factory=list)  # one of each code
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Columns:
    """A few numbers of each readable chat, in the order of the batches."""

    digest: NDArray[np.uint64]
    line: NDArray[np.int64]
    tokens: NDArray[np.int32]
    supervised: NDArray[np.int32]
    turns: NDArray[np.int32]
    batch: NDArray[np.int32]


@dataclass(frozen=True)
class _Verdict:
    """Where each readable chat goes, and for those aside why and because of which other."""

    side: NDArray[np.int8]
    code: list[str]
    reason: NDArray[np.int8]
    twin: NDArray[np.int64]


def assemble(
    intake: Intake,
    settings: Data,
    folder: Path,
    work: Path,
    *,
    earlier: Path | None,
    reporter: Reporter,
) -> Assembled:
    """Write train, test, rejected and findings from prepared batches; raise if strict."""
    summaries = [
        json.loads(batches.paths(work, number).done.read_text(encoding="utf-8"))
        for number in range(intake.batches)
    ]
    columns = _load(work, intake.batches)
    reporter.progress(0, None, "chats", f"comparing {len(columns.line):,} chats with each other")
    verdict, division = _judge(columns, summaries, settings, work, earlier)
    codes: Counter[str] = Counter()
    firsts: dict[str, dict[str, Any]] = {}
    with _opened(folder) as out:
        sides = enumerate(verdict.side)
        for number in range(len(summaries)):
            reporter.progress(number, len(summaries), "batches", "writing")
            where = batches.paths(work, number)
            rejects = list(read_jsonl(where.rejects))
            if settings.strict and rejects:
                names_of = ("file", "line", "code", "problem")
                raise Reject(*(rejects[0][name] for name in names_of)).error()
            for place, text in _divided(where.rows, sides, out):
                reject = _reject(place, text, columns, verdict, summaries)
                if settings.strict:
                    raise reject.error()
                rejects.append(reject.row())
            _copy(where.finds, out["findings"])
            for row in sorted(rejects, key=lambda row: row["line"]):
                codes[row["code"]] += 1
                firsts.setdefault(row["code"], row)
                out["rejected"].write(json.dumps(row, ensure_ascii=False) + "\n")
    kept = verdict.side != ASIDE
    return Assembled(
        rows={name: int((verdict.side == side).sum()) for side, name in NAMES.items()},
        rejected_by_code=dict(codes),
        read=sum(summary["read"] for summary in summaries),
        normalised=sum(summary["normalised"] for summary in summaries),
        found=dict(sum((Counter(summary["finds"]) for summary in summaries), Counter[str]())),
        near_pairs=division.pairs,
        first_rejects=list(firsts.values()),
        columns={
            "side": verdict.side[kept],
            "tokens": columns.tokens[kept],
            "supervised": columns.supervised[kept],
            "turns": columns.turns[kept],
        },
    )


def _load(work: Path, count: int) -> _Columns:
    import numpy as np

    names = ("digest", "line", "tokens", "supervised", "turns")
    parts: dict[str, list[Any]] = {name: [] for name in names}
    owner = []
    for number in range(count):
        with np.load(batches.paths(work, number).arrays) as arrays:
            for name in names:
                parts[name].append(arrays[name])
            owner.append(np.full(len(arrays["line"]), number, dtype=np.int32))
    empty: dict[str, Any] = {name: np.zeros(0, dtype=np.int64) for name in names}
    empty["digest"] = np.zeros((0, 2), dtype=np.uint64)
    joined = {name: np.concatenate(found or [empty[name]]) for name, found in parts.items()}
    return _Columns(**joined, batch=np.concatenate(owner or [np.zeros(0, dtype=np.int32)]))


def _judge(
    columns: _Columns,
    summaries: list[dict[str, Any]],
    settings: Data,
    work: Path,
    earlier: Path | None,
) -> tuple[_Verdict, Division]:
    import numpy as np

    held_batches = np.array([summary["held_out"] for summary in summaries], dtype=bool)
    held_out = held_batches[columns.batch] if len(summaries) else np.zeros(0, dtype=bool)
    first = repeats(columns.digest)
    different = held_out | (first == np.arange(len(first)))
    unique = np.flatnonzero(different)
    division = divide(
        columns.digest[unique],
        _signatures(work, len(summaries), different),
        held_out=held_out[unique],
        before=_sides_before(columns.digest[unique], earlier),
        test_size=settings.test_size,
        seed=settings.seed,
        similarity=settings.similarity,
        keep_near=settings.near_duplicates == "keep",
    )
    count = len(first)
    codes = [*REASONS, "duplicate", "in-test"]
    side = np.full(count, ASIDE, dtype=np.int8)
    reason = np.full(count, codes.index("duplicate"), dtype=np.int8)
    reason[held_out[first] if count else []] = codes.index("in-test")
    twin = first.copy()
    side[unique], reason[unique] = division.side, division.reason
    near = division.near >= 0
    twin[unique[near]] = unique[division.near[near]]
    # what repeats a chat that is itself set aside is so for the same reason
    again = ~different & (side[first] == ASIDE)
    reason[again], twin[again] = reason[first[again]], twin[first[again]]
    return _Verdict(side, codes, reason, twin), division


def _signatures(work: Path, count: int, different: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return the signatures of different chats, from the disk as they are needed."""
    import numpy as np

    total = int(different.sum())
    if not total:
        return np.zeros((0, PERMUTATIONS), dtype=np.uint32)
    path = work / "signatures.npy"
    made = np.lib.format.open_memmap(path, "w+", dtype=np.uint32, shape=(total, PERMUTATIONS))
    start = written = 0
    for number in range(count):
        with np.load(batches.paths(work, number).arrays) as arrays:
            found = arrays["signature"]
        chosen = found[different[start : start + len(found)]]
        made[written : written + len(chosen)] = chosen
        start, written = start + len(found), written + len(chosen)
    return made


def _sides_before(digests: NDArray[np.uint64], earlier: Path | None) -> NDArray[np.int8]:
    """Return on which side each chat stood in the dataset before."""
    import numpy as np

    sides = np.full(len(digests), NEW, dtype=np.int8)
    if earlier is None:
        return sides
    for side, name in NAMES.items():
        raw = b"".join(map(digest, read_jsonl(earlier / f"{name}.jsonl")))
        known = np.frombuffer(raw, dtype="<u8").reshape(-1, 2)[:, 0]
        sides[np.isin(digests[:, 0], known)] = side
    return sides


def _reject(
    place: int,
    text: str,
    columns: _Columns,
    verdict: _Verdict,
    summaries: list[dict[str, Any]],
) -> Reject:
    code = verdict.code[int(verdict.reason[place])]
    twin = int(verdict.twin[place])
    other = f"{summaries[int(columns.batch[twin])]['file']}:{int(columns.line[twin])}"
    same = "nearly the same" if code in REASONS else "the same"
    problem = {
        "in-test": f"the same chat is held out ({other})",
        "near-test": f"nearly the same chat is held out ({other})",
        "bridge": f"near a chat to learn and near a held-out one ({other})",
    }.get(code, f"{same} chat as in {other}")
    file = summaries[int(columns.batch[place])]["file"]
    return Reject(file, int(columns.line[place]), code, problem, shortened(text.rstrip("\n")))


@contextmanager
def _opened(folder: Path) -> Iterator[dict[str, IO[str]]]:
    with ExitStack() as files:
        yield {
            name: files.enter_context(
                (folder / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n")
            )
            for name in (*NAMES.values(), "rejected", "findings")
        }


def _divided(
    rows: Path, sides: Iterator[tuple[int, np.int8]], out: Mapping[str, IO[str]]
) -> Iterator[tuple[int, str]]:
    """Copy a batch's rows to the files of their sides; yield those set aside, with their places."""
    with rows.open(encoding="utf-8") as lines:
        for text, (place, side) in zip(lines, sides, strict=False):  # goes on in the next batch
            if side == ASIDE:
                yield place, text
            else:
                out[NAMES[int(side)]].write(text)


def _copy(path: Path, out: IO[str]) -> None:
    with path.open(encoding="utf-8", newline="") as rows:
        for piece in iter(lambda: rows.read(1 << 20), ""):
            out.write(piece)
