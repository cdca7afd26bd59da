"""The chats that every trainer gets, and the model that learns them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any  # a reporter's progress

ROW = 2048
CHATS_PER_UPDATE = 5  # so many about fill a row
SEED = 0


def chats() -> list[dict[str, list[int]]]:
    """Return tokenised chats of many turns, put together from the demo's, with their labels."""
    from hieno.models import pull
    from hieno.package.layout import weights_folder
    from hieno.reporting import Reporter
    from hieno.templates import load_tokenizer
    from hieno.train.stage import tokenise

    class Silent(Reporter):
        def stage(self, name: str) -> None: ...

        def say(self, line: str) -> None: ...

        def progress(self, *_: Any) -> None: ...

    tokenizer = load_tokenizer(weights_folder(pull("demo", reporter=Silent())))
    source = Path(__file__).parents[2] / "src" / "hieno" / "example" / "data" / "chats.jsonl"
    turns = [json.loads(line)["messages"] for line in source.read_text("utf-8").splitlines()]
    turns = [[m for m in messages if m["role"] != "system"] for messages in turns]
    draw = random.Random(SEED)  # noqa: S311  # lengths of chats, nothing secret
    rows = []
    for _ in range(CHATS_PER_UPDATE * 12):
        length = min(ROW, int(draw.lognormvariate(5.7, 0.66)))
        messages: list[dict[str, str]] = []
        while sum(len(m["content"]) for m in messages) < 3.1 * (length - 40):
            messages += draw.choice(turns)
        rows.append(tokenise(tokenizer, [{"messages": messages}])[0])
    return [{name: values[:ROW] for name, values in row.items()} for row in rows]


def base() -> Path:
    """Return the demo model's folder."""
    from hieno.models import find
    from hieno.package.layout import weights_folder

    root = find("demo")
    if root is None:
        raise SystemExit("get the model first: hieno models pull demo")
    return weights_folder(root)
