"""The model card: what the model is, what it was made from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # facts are JSON


def write(facts: Mapping[str, Any]) -> str:
    """Return the card of a package as Markdown with a YAML header."""
    base, run, dataset = facts["base"], facts["run"], facts["dataset"]
    settings = run["settings"]
    rows, reopened = dataset["rows"], facts["reopened"]
    losses = (
        f"| held-out loss, base | {run['base_test_loss']:.4f} |\n"
        f"| held-out loss, tuned | {run['test_loss']:.4f} |\n"
        if run["test_loss"] is not None
        else ""
    )
    return f"""---
base_model: {base.get("source", "?")}
license: {str(base.get("licence", "other")).lower()}
library_name: transformers
pipeline_tag: text-generation
---

# {facts["name"]}

Fine-tuned from `{base.get("source", "?")}` (revision `{base.get("revision") or "-"}`) with LoRA,
merged into plain weights. The licence is that of the base model.

| | |
|---|---|
| training chats | {rows["train"]} and {rows["replay"]} replayed answers of the base |
| held-out chats | {rows["test"]} |
| rank, alpha, dropout | {settings["rank"]}, {settings["alpha"]}, {settings["dropout"]} |
| learning rate | {settings["learning_rate"]}, {settings["scheduler"]} |
| epochs, chats a step | {settings["epochs"]}, {settings["batch_size"]} |
| seed | {settings["seed"]} |
| compute dtype | {run["dtype"]} |
{losses}| data digest | `{dataset["digest"]}` |
| run | `{run["key"]}` |
| base digest | `{base["digest"]}` |

Opened again after packaging and asked once:

> {reopened["question"]}
>
> **{reopened["answer"]}**
"""
