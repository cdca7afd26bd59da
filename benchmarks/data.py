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
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any  # rows of JSONL

import psutil

from hieno import models, plans
from hieno.data import privacy
from hieno.data.chats import check, digest, normalised
from hieno.data.lengths import measure, open_ruler
from hieno.data.likeness import signature
from hieno.files import read_jsonl, read_manifest
from hieno.package.layout import weights_folder
from hieno.project import Project, open_project
from hieno.stages import StagePlan, save_plan

ROWS = int(os.environ.get("ROWS", "2000"))
WORKERS = int(os.environ.get("WORKERS", "0"))
BASELINE = 2000  # chats at most that are tokenised bare
BROKEN, NEAR, LEAKED, SECRETS = 0.02, 0.05, 0.01, 30
SEED = 0
MAX_LENGTH = 8192

Planted = dict[str, set[int]]  # kind -> lines


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
        plan, seconds, peak = prepare(project, base)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        bare.append(tokenise(base, chats[half:]))
        facts = _facts(plan)
        found = score(Path(plan.output), planted)
        shares = steps(base, chats[:300])
    tokens = facts["train_tokens"]["total"] + facts["test_tokens"]["total"]
    work = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    rate, bare_rate = tokens / seconds, 2 / sum(1 / wall for wall, _ in bare)
    bare_work = sum(cpu for _, cpu in bare) / 2
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"conditions: Python {platform.python_version()}, tokenizers {version('tokenizers')},"
        f" {cores} cores, load {os.getloadavg()[0]:.1f}, the demo model's tokenizer,"
        f" {facts['read']:,} rows read, {tokens:,} tokens kept, baseline on {len(chats):,} chats"
    )
    print(f"{'step, on one core':34} {'ms a chat':>10} {'share':>7}")
    total = sum(shares.values())
    for name, cost in shares.items():
        print(f"{name:34} {cost:10.3f} {cost / total:7.1%}")
    print(f"{'found of what was planted':34} {'recall':>10} {'precision':>10}")
    for kind, (recall, precision) in found.items():
        print(f"{kind:34} {recall:10.3f} {precision:10.3f}")
    print(f"rejected: {facts['rejected_by_code']}")
    result = {
        "rows": facts["read"],
        "seconds": round(seconds, 2),
        "rows_per_s": round(facts["read"] / seconds, 1),
        "tokens_per_s": round(rate),
        "ratio_vs_tokenizer": round(rate / bare_rate, 3),
        "cpu_ratio_vs_tokenizer": round(tokens / work * bare_work, 3),
        "peak_rss_gb": round(peak / 1e9, 3),
        "near_duplicate_recall": round(found["near-duplicates"][0], 4),
        "near_duplicate_precision": round(found["near-duplicates"][1], 4),
        "leak_recall": round(found["leaks"][0], 4),
        "leak_precision": round(found["leaks"][1], 4),
        "broken_recall": round(found["broken rows"][0], 4),
        "secret_recall": round(found["secrets"][0], 4),
    }
    print(json.dumps(result))


def generate(root: Path, rows: int) -> Planted:
    """Write `chats.jsonl` and `held.jsonl`; return the lines of what was planted."""
    rng = random.Random(SEED)  # noqa: S311  # nothing here is secret
    writer = _Writer(rng)
    held = [writer.chat() for _ in range(max(20, rows // 50))]
    with (root / "held.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps({"messages": chat}) + "\n" for chat in held)
    planted: Planted = {kind: set() for kind in ("broken", "near", "leaked", "secret")}
    secrets = set(rng.sample(range(1, rows + 1), min(SECRETS, rows // 10)))
    recent: list[list[dict[str, str]]] = []
    with (root / "chats.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for line in range(1, rows + 1):
            chance = rng.random()
            if line in secrets:
                chat = writer.chat()
                chat[0]["content"] += f" {writer.secret()} "
                planted["secret"].add(line)
            elif chance < BROKEN:
                planted["broken"].add(line)
                file.write(writer.broken() + "\n")
                continue
            elif chance < BROKEN + NEAR and recent:
                planted["near"].add(line)
                chat = writer.edited(rng.choice(recent))
            elif chance < BROKEN + NEAR + LEAKED:
                planted["leaked"].add(line)
                chosen = rng.choice(held)
                chat = chosen if rng.random() < 0.5 else writer.edited(chosen)
            else:
                chat = writer.chat()
                if rng.random() < 0.2:
                    recent = [*recent[-499:], chat]
            file.write(json.dumps({"messages": chat}) + "\n")
    return planted


class _Writer:
    """Words of the standard library's own documentation, as often as words are in a language."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        text = "".join(
            path.read_text("utf-8") for path in sorted(Path(os.__file__).parent.glob("*.py"))
        )
        found = sorted(set(re.findall(r"\b[a-z]{2,12}\b", text)))
        rng.shuffle(found)
        self._words = found[:20_000]
        weights = (1 / (place + 10) for place in range(len(self._words)))
        self._weights = list(_running(weights))

    def chat(self) -> list[dict[str, str]]:
        """Return 1 to 5 turns, longer ones with longer replies, 1,100 tokens in the mean."""
        chat = []
        for _ in range(self._rng.choices((1, 2, 3, 4, 5), (10, 20, 35, 25, 10))[0]):
            chat.append({"role": "user", "content": self._text(self._rng.randint(8, 60))})
            chat.append({"role": "assistant", "content": self._text(self._rng.randint(80, 310))})
        return chat

    def edited(self, chat: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        """Return the chat as somebody else exported it: a few words changed, case or spaces."""
        kind = self._rng.randrange(3)
        made = []
        for message in chat:
            words = message["content"].split(" ")
            if kind == 0:
                words = [w if self._rng.random() > 0.015 else self._word() for w in words]
            text = " ".join(words)
            made.append({**message, "content": text.lower() if kind == 1 else text})
        if kind == 2:
            made[-1]["content"] += " " + self._text(
                max(3, sum(len(m["content"]) for m in made) // 120)
            )
        return made

    def broken(self) -> str:
        """Return a row that cannot be used."""
        chat = self.chat()
        kinds: list[Callable[[], str]] = [
            lambda: json.dumps({"messages": chat})[:-20],
            lambda: json.dumps({"messages": chat[:-1]}),
            lambda: json.dumps({"messages": [{**chat[0], "role": "bot"}, *chat[1:]]}),
            lambda: json.dumps({"messages": [*chat[:-1], {**chat[-1], "content": " "}]}),
            lambda: json.dumps({"text": chat[0]["content"]}),
            lambda: json.dumps({"messages": [chat[0], *chat]}),
        ]
        return str(self._rng.choice(kinds)())

    def secret(self) -> str:
        """Return a made-up secret."""
        signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        body = "".join(self._rng.choices(signs, k=40))
        prefixes = (f"AKIA{body[:16]}", f"ghp_{body[:36]}", f"sk-{body}", f"hf_{body[:34]}")
        return str(self._rng.choice(prefixes))

    def _text(self, words: int) -> str:
        sentences = []
        while words > 0:
            length = min(words, self._rng.randint(5, 20))
            chosen = self._rng.choices(self._words, cum_weights=self._weights, k=length)
            sentences.append(" ".join(chosen).capitalize() + ".")
            words -= length
        return " ".join(sentences)

    def _word(self) -> str:
        return str(self._rng.choice(self._words))


def prepare(project: Project, base: Path) -> tuple[StagePlan, float, int]:
    """Run the stage as the command does; return its plan, seconds and peak memory in bytes.

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
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "hieno.stages", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as child:
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, _memory(watched))
            try:
                child.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    if child.returncode:
        raise SystemExit(f"the stage ended with {child.returncode}")
    return plan, time.perf_counter() - began, peak


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


def score(dataset: Path, planted: Planted) -> dict[str, tuple[float, float]]:
    """Return (recall, precision) of each kind."""
    rejected: dict[str, set[int]] = {}
    for row in read_jsonl(dataset / "rejected.jsonl"):
        if row["file"] == "chats.jsonl":
            rejected.setdefault(row["code"], set()).add(row["line"])
    codes = {
        "near-duplicates": ("near", ("duplicate", "near-duplicate")),
        "leaks": ("leaked", ("in-test", "near-test")),
    }
    found = {
        name: _rates(set().union(*(rejected.pop(code, set()) for code in kinds)), planted[kind])
        for name, (kind, kinds) in codes.items()
    }
    found["broken rows"] = _rates(set().union(*rejected.values()), planted["broken"])
    finds = read_jsonl(dataset / "findings.jsonl")
    lines = {
        f["line"] for f in finds if f["family"] == privacy.SECRET and f["file"] == "chats.jsonl"
    }
    found["secrets"] = _rates(lines, planted["secret"])
    return found


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


def _rates(found: set[int], planted: set[int]) -> tuple[float, float]:
    right = len(found & planted)
    return right / max(1, len(planted)), right / max(1, len(found))


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


def _running(values: Iterator[float]) -> Iterator[float]:
    total = 0.0
    for value in values:
        total += value
        yield total


class _Quiet:
    def stage(self, name: str) -> None: ...
    def progress(self, done: float, total: float | None, unit: str, text: str = "") -> None: ...
    def say(self, line: str) -> None: ...


if __name__ == "__main__":
    main()
