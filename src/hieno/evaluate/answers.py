"""What a model says and how it scores on losses; asked once, kept beside the evaluations.

The base is compared with every model that is tuned from it, and a gate's thresholds change more
often than a model: what was asked of the same package in the same way is not asked again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON

from hieno.config import Serve
from hieno.errors import BrokenArtifact
from hieno.evaluate import losses
from hieno.evaluate.intervals import Sample
from hieno.evaluate.measures import Reply
from hieno.evaluate.questions import Question
from hieno.files import digest_json, published, read_json, read_jsonl, verify
from hieno.reporting import Reporter

REVISION = 1  # raised when the same questions would be asked in another way


@dataclass(frozen=True)
class Heard:
    """Replies in the order of the questions, and the losses of chats and of plain texts."""

    replies: list[Reply]
    chats: Sample
    texts: Sample


@dataclass(frozen=True)
class Exam:
    """What every model is asked, and how; `weights` is the format, where a model has several."""

    questions: Sequence[Question]
    chats: Sequence[Sequence[Mapping[str, Any]]]
    texts: Sequence[str]
    max_new_tokens: int
    engine: str
    serve: Serve
    weights: str = "auto"


def hear(root: Path, digest: str, exam: Exam, kept: Path, name: str, reporter: Reporter) -> Heard:
    """Ask a package whose content has a digest, or return what it said when it was asked before."""
    key = digest_json(
        {
            "revision": REVISION,
            "package": digest,
            "prompts": [question.prompt for question in exam.questions],
            "chats": exam.chats,
            "texts": exam.texts,
            "max_new_tokens": exam.max_new_tokens,
            "engine": exam.engine,
            "weights": exam.weights,
            "serve": exam.serve.model_dump(),
        }
    )
    folder = kept / key[:12]
    found = _read(folder, key)
    if found is None:
        found = Heard(
            _replies(root, exam, name, reporter),
            *losses.of_chats(
                root,
                exam.chats,
                exam.texts,
                on_progress=lambda done, total: reporter.progress(
                    done, total, "texts", f"losses of the {name} model"
                ),
            ),
        )
        _keep(folder, key, found)
    return found


def _replies(root: Path, exam: Exam, name: str, reporter: Reporter) -> list[Reply]:
    from hieno.serve.batch import answer_chats

    completions = answer_chats(
        root,
        [question.prompt for question in exam.questions],
        max_new_tokens=exam.max_new_tokens,
        engine=exam.engine,
        weights=exam.weights,
        settings=exam.serve,
        on_progress=lambda done, total: reporter.progress(
            done, total, "answers", f"asking the {name} model"
        ),
    )
    return [Reply(done.text.strip(), done.finish_reason == "stop") for done in completions]


def _read(folder: Path, key: str) -> Heard | None:
    try:
        if verify(folder).key != key:
            return None
    except BrokenArtifact:
        return None
    losses_of = read_json(folder / "losses.json")
    return Heard(
        [Reply(row["text"], row["stopped"]) for row in read_jsonl(folder / "replies.jsonl")],
        *(
            {unit: (total, count) for unit, (total, count) in enumerate(losses_of[name])}
            for name in ("chats", "texts")
        ),
    )


def _keep(folder: Path, key: str, heard: Heard) -> None:
    with published(folder, kind="replies", key=key) as (partial, _):
        with (partial / "replies.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for reply in heard.replies:
                row = {"text": reply.text, "stopped": reply.stopped}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        kept = {"chats": list(heard.chats.values()), "texts": list(heard.texts.values())}
        (partial / "losses.json").write_text(json.dumps(kept), encoding="utf-8")
