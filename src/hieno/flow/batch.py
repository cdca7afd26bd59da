"""Ask a flow every line of a file, count truthfully, and go on where it stopped."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TextIO  # Any: metrics are the evaluation flow's

from pydantic import SecretStr

from hieno import locks
from hieno.errors import Busy
from hieno.files import digest_file, digest_json, now, write_atomic, write_json
from hieno.flow import report, serving
from hieno.flow.results import ANSWERS, REPORT, SUMMARY, Answered, Batch
from hieno.flow.rows import Row, read
from hieno.flow.runner import Runner
from hieno.flow.shape import shape_of
from hieno.reporting import Reporter

GIVE_UP = 20  # failures in a row, with no answer between them, that end a batch
LONGEST = 900.0  # seconds for one line; the node's own limits are shorter


def run(
    folder: Path,
    data: Path,
    endpoint: str,
    key: SecretStr,
    *,
    runs: Path,
    model: str = "",
    columns: Mapping[str, str] | None = None,
    workers: int = 4,
    retries: int = 1,
    fresh: bool = False,
    reporter: Reporter,
) -> Batch:
    """Ask the flow in `folder` every line of `data`; results and a report go below `runs`.

    Lines that were answered by an earlier call with the same flow, data, endpoint and `model` (a
    digest of what answers there) are not asked again, unless it begins `fresh`. A line that fails
    is asked again `retries` times, after all others.
    """
    shape = shape_of(folder)
    rows = read(data, shape, columns)
    asked = [serving.files(folder), digest_file(data), endpoint, model, dict(columns or {})]
    place = runs / digest_json(asked)[:12]
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        known = {} if fresh else _earlier(place / ANSWERS)
        results = {line: each for line, each in known.items() if each.error is None}
        earlier = len(results)
        todo = [row for row in rows if row.line not in results]
        if todo:
            with (
                closing(Runner(folder, endpoint, key, workers=workers, say=reporter.say)) as runner,
                _journal(place / ANSWERS, results) as journal,
            ):
                _ask(runner, todo, results, journal, retries, reporter)
        batch = Batch(place, shape, rows, results, earlier)
        publish(batch, data, folder)
    return batch


def publish(
    batch: Batch, data: Path, folder: Path, metrics: Mapping[str, Any] | None = None
) -> None:
    """Write a batch's summary and report."""
    about = {"data": str(data), "flow": str(folder), "finished": now(), "metrics": metrics}
    write_json(batch.folder / SUMMARY, batch.as_json() | about)
    report.write(batch.folder / REPORT, batch, data, metrics)


def _ask(
    runner: Runner,
    rows: Sequence[Row],
    results: dict[int, Answered],
    journal: TextIO,
    retries: int,
    reporter: Reporter,
) -> None:
    todo, tries, under_way, in_a_row = deque(rows), dict.fromkeys((r.line for r in rows), 0), 0, 0
    by_line = {row.line: row for row in rows}
    total, failed = len(rows) + len(results), 0
    reporter.stage("flow")
    while (todo and in_a_row < GIVE_UP) or under_way:
        while todo and under_way < runner.workers and in_a_row < GIVE_UP:
            row = todo.popleft()
            tries[row.line] += 1
            runner.ask(row.line, row.inputs)
            under_way += 1
        told = runner.told(LONGEST)
        under_way -= 1
        line, error = told["line"], told.get("error")
        in_a_row = in_a_row + 1 if error else 0
        if error and tries[line] <= retries:
            todo.append(by_line[line])
            continue
        failed += bool(error)
        results[line] = Answered(line, told.get("outputs"), error, told["seconds"], tries[line])
        _note(journal, results[line])
        reporter.progress(len(results), total, "lines", f"{failed} failed" if failed else "")
    if todo:
        reporter.say(f"gave up: {in_a_row} lines in a row failed, {len(todo)} were left")


def _journal(path: Path, results: Mapping[int, Answered]) -> TextIO:
    """Open the file of answers for more, holding those that are known and nothing else."""
    known = "".join(_line(each) for each in results.values())
    write_atomic(path, known)
    return path.open("a", encoding="utf-8", newline="\n")


def _line(each: Answered) -> str:
    return json.dumps(vars(each), ensure_ascii=False) + "\n"


def _note(journal: TextIO, each: Answered) -> None:
    journal.write(_line(each))
    journal.flush()  # an interruption loses the lines under way and no other


def _earlier(path: Path) -> dict[int, Answered]:
    if not path.is_file():
        return {}
    found = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            each = Answered(**json.loads(text))
        except (ValueError, TypeError):  # the last line of a call that was killed
            continue
        found[each.line] = each
    return found


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    taken = f"another command asks the same batch ({place})"
    with locks.alone(place / "lock", lambda: Busy(taken, hint=locks.WAIT)):
        yield
