"""How fast chats become a dataset, in how much memory, and what is found of what was planted.

`make bench-data ROWS=n` generates n chats of UltraChat's shape (about 1,100 tokens each), with 2%
broken rows, 5% near-duplicates, 1% copies of held-out chats and 30 secrets, and prepares them as
`hieno data` does. The rate is compared with bare batched tokenisation of the same chats on the
same cores, half before and half after.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any  # Any: rows of JSONL

import psutil

from benchmarks.planted import generate, score
from hieno import models, plans
from hieno.data import privacy
from hieno.data.chats import check, digest, normalised
from hieno.data.lengths import measure, open_ruler
from hieno.data.likeness import signature
from hieno.files import read_manifest
from hieno.package.layout import weights_folder
from hieno.project import Project, open_project
from hieno.stages import StagePlan, save_plan

ROWS = int(os.environ.get("ROWS", "2000"))
WORKERS = int(os.environ.get("WORKERS", "0"))
BASELINE = 2000  # chats at most that are tokenised bare
MAX_LENGTH = 8192
# what the stage does when it tells of these units
PHASES = {
    "MB": "read, check, clean, tokenise",
    "kB": "read, check, clean, tokenise",
    "chats": "compare and divide",
    "batches": "write",
    "pages": "proof and report",
    "runs": "show in MLflow",
}


@dataclass(frozen=True)
class Prepared:
    """A stage that ran: its plan, seconds, those of each phase, and peak memory in bytes."""

    plan: StagePlan
    seconds: float
    phases: dict[str, float]
    peak: int


def main() -> None:
    """Print the conditions, tables, and one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "hieno.yaml").write_text(
            "name: bench\nmodel: demo\ndata:\n  source: chats.jsonl\n  test: held.jsonl\n"
            f"  workers: {WORKERS}\ntrain:\n  max_length: {MAX_LENGTH}\n",
            encoding="utf-8",
        )
        planted = generate(root, ROWS)
        project = open_project(root)
        base = models.pull("demo", revision=None, folder=root, reporter=_Quiet())
        chats = [row for _, row in zip(range(BASELINE), _usable(root), strict=False)]
        half = len(chats) // 2
        bare = [tokenise(base, chats[:half])]
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        made = prepare(project, base)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        bare.append(tokenise(base, chats[half:]))
        facts = _facts(made.plan)
        found = score(Path(made.plan.output), planted)
        shares = steps(base, chats[:300])
    tokens = facts["train_tokens"]["total"] + facts["test_tokens"]["total"]
    work = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    rate, bare_rate = tokens / made.seconds, 2 / sum(1 / wall for wall, _ in bare)
    bare_work = sum(cpu for _, cpu in bare) / 2
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"conditions: Python {platform.python_version()}, tokenizers {version('tokenizers')},"
        f" {cores} cores, load {os.getloadavg()[0]:.1f}, the demo model's tokenizer,"
        f" {facts['read']:,} rows read, {tokens:,} tokens kept, baseline on {len(chats):,} chats"
    )
    print(f"{'phase':34} {'seconds':>10} {'share':>7}")
    for name, cost in made.phases.items():
        print(f"{name:34} {cost:10.2f} {cost / made.seconds:7.1%}")
    print(f"{'step of the first, on one core':34} {'ms a chat':>10} {'share':>7}")
    total = sum(shares.values())
    for name, cost in shares.items():
        print(f"{name:34} {cost:10.3f} {cost / total:7.1%}")
    print(f"{'found of what was planted':34} {'recall':>10} {'precision':>10}")
    for kind, (recall, precision) in found.items():
        print(f"{kind:34} {recall:10.3f} {precision:10.3f}")
    print(f"rejected: {facts['rejected_by_code']}")
    result = {
        "rows": facts["read"],
        "seconds": round(made.seconds, 2),
        "rows_per_s": round(facts["read"] / made.seconds, 1),
        "tokens_per_s": round(rate),
        "ratio_vs_tokenizer": round(rate / bare_rate, 3),
        "cpu_ratio_vs_tokenizer": round(tokens / work * bare_work, 3),
        "peak_rss_gb": round(made.peak / 1e9, 3),
        "near_duplicate_recall": round(found["near-duplicates"][0], 4),
        "near_duplicate_precision": round(found["near-duplicates"][1], 4),
        "leak_recall": round(found["leaks"][0], 4),
        "leak_precision": round(found["leaks"][1], 4),
        "broken_recall": round(found["broken rows"][0], 4),
        "secret_recall": round(found["secrets"][0], 4),
    }
    print(json.dumps(result))


def prepare(project: Project, base: Path) -> Prepared:
    """Run the stage as the command does.

    The memory is the sum over the stage's processes, looked at ten times a second.
    """
    manifest = read_manifest(base)
    assert manifest is not None
    done = plans.Published()
    done.add("base", base, manifest)
    plan = plans.plan("data", project, done)
    file = project.root / "plan.json"
    save_plan(plan, file)
    peak = 0
    began_at: list[tuple[str, float]] = [("start", 0.0)]
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "hieno.stages", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as child:
        assert child.stdout is not None
        listening = threading.Thread(target=_listen, args=(child.stdout, began, began_at))
        listening.start()
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, _memory(watched))
            try:
                child.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    if child.returncode:
        raise SystemExit(f"the stage ended with {child.returncode}")
    seconds = time.perf_counter() - began
    listening.join()
    ends = [moment for _, moment in began_at[1:]] + [seconds]
    phases = {name: end - start for (name, start), end in zip(began_at, ends, strict=True)}
    return Prepared(plan, seconds, phases, peak)


def _listen(lines: IO[str], began: float, phases: list[tuple[str, float]]) -> None:
    """Note when the stage first tells of each phase."""
    for line in lines:
        unit = (json.loads(line).get("progress") or ["", "", ""])[2]
        name = PHASES.get(unit, phases[-1][0])
        if all(name != known for known, _ in phases):
            phases.append((name, time.perf_counter() - began))


def tokenise(base: Path, chats: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Tokenise bare, in batches, on all cores.

    Return tokens a second, and the seconds of processor time that a token takes; the latter is
    steady where other work shares the machine.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    from hieno.templates import load_tokenizer

    tokenizer = load_tokenizer(weights_folder(base)).backend_tokenizer
    texts = ["\n".join(m["content"] for m in chat["messages"]) for chat in chats]
    tokenizer.encode_batch(texts[:64])
    began, before = time.perf_counter(), time.process_time()
    count = 0
    for start in range(0, len(texts), 256):
        count += sum(map(len, tokenizer.encode_batch(texts[start : start + 256])))
    return count / (time.perf_counter() - began), (time.process_time() - before) / count


def steps(base: Path, chats: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the milliseconds that each step of the first pass takes for a chat, on one core."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    ruler = open_ruler(weights_folder(base), MAX_LENGTH)
    lines = [json.dumps(chat) for chat in chats]
    measure(ruler, chats[0])
    return {
        "read JSON": _milliseconds(json.loads, lines),
        "check": _milliseconds(check, chats),
        "normalise": _milliseconds(normalised, chats),
        "look for secrets": _milliseconds(
            lambda chat: [privacy.scan(message["content"]) for message in chat["messages"]], chats
        ),
        "digest": _milliseconds(digest, chats),
        "MinHash": _milliseconds(lambda chat: signature(chat["messages"]), chats),
        "render and tokenise": _milliseconds(lambda chat: measure(ruler, chat), chats),
        "write": _milliseconds(lambda chat: json.dumps(chat, ensure_ascii=False), chats),
    }


def _milliseconds(function: Callable[[Any], object], values: Sequence[Any]) -> float:
    began = time.perf_counter()
    for value in values:
        function(value)
    return (time.perf_counter() - began) * 1000 / len(values)


def _usable(root: Path) -> Iterator[dict[str, Any]]:
    with (root / "chats.jsonl").open(encoding="utf-8") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row.get("messages"), list) and isinstance(check(row), dict):
                yield row


def _memory(process: psutil.Process) -> int:
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def _facts(plan: StagePlan) -> dict[str, Any]:
    manifest = read_manifest(Path(plan.output))
    assert manifest is not None
    return dict(manifest.facts)


class _Quiet:
    def stage(self, name: str) -> None: ...
    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None: ...
    def say(self, line: str) -> None: ...


if __name__ == "__main__":
    main()
