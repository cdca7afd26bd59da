"""The model card: what the model is, what it was made from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any  # facts are JSON

Facts = Mapping[str, Any]

_METHODS = {
    "lora": "LoRA, merged into plain weights",
    "qlora": "QLoRA, trained on a 4-bit base and merged into the base's own weights",
    "full": "every weight trained",
}
_USES = {
    "hf": 'AutoModelForCausalLM.from_pretrained("FOLDER")  # and AutoTokenizer, of transformers',
    "gguf": "ollama create NAME -f Modelfile\nllama-server -m FILE.gguf --jinja",
    "onnx": 'onnxruntime_genai.Model("FOLDER")',
}


def write(facts: Facts, *, export: Facts | None = None) -> str:
    """Return the card of a package, or of an export of it, as Markdown with a YAML header."""
    base, run, reopened = facts["base"], facts["run"], facts["reopened"]
    licence = str(base.get("licence") or "").lower()
    method = _METHODS[run["settings"]["method"]]
    head = f"""---
base_model: {_source(base)}
license: {licence or "other"}
library_name: transformers
pipeline_tag: text-generation
---

# {facts["name"]}

Fine-tuned from `{_source(base)}` (revision `{base.get("revision") or "-"}`): \
{method}. The licence is that of the base model ({licence or "not known"}).

| | |
|---|---|
"""
    rows = "".join(f"| {name} | {value} |\n" for name, value in _rows(facts))
    asked = f"""
Opened again after packaging and asked once:

> {_quoted(reopened["question"])}
>
> **{_quoted(reopened["answer"])}**
"""
    measured = _formats(facts.get("formats", {}), facts.get("weights"))
    return head + rows + asked + measured + (_exported(export) if export else "")


def _rows(facts: Facts) -> list[tuple[str, object]]:
    base, run, dataset = facts["base"], facts["run"], facts["dataset"]
    settings, rows = run["settings"], dataset["rows"]
    learnt = "all" if settings["loss_on"] == "all" else "the assistant's"
    table: list[tuple[str, object]] = [
        ("training chats", f"{rows['train']} and {rows['replay']} replayed answers of the base"),
        ("held-out chats", rows["test"]),
        ("tokens learnt", f"{learnt}, of chats up to {settings['max_length']} tokens"),
    ]
    if settings["method"] != "full":
        adapter = f"{settings['rank']}, {settings['alpha']}, {settings['dropout']}"
        targets = settings["targets"]
        layers = "all linear layers" if targets == "all" else ", ".join(targets)
        if settings["frozen_layers"]:
            layers += f" above the lowest {settings['frozen_layers']}"
        kind = "" if settings["variant"] == "plain" else f" ({settings['variant']})"
        table.append(("rank, alpha, dropout", f"{adapter}{kind}, on {layers}"))
    schedule = f"{settings['scheduler']}, {settings['warmup']} of the steps warming up"
    table += [
        ("learning rate", f"{settings['learning_rate']}, {schedule}"),
        ("epochs, chats a step", f"{settings['epochs']}, {settings['batch_size']}"),
        (
            "weight decay, gradient clip",
            f"{settings['weight_decay']}, {settings['gradient_clip']}",
        ),
        ("steps, seed", f"{run['steps']}, {settings['seed']}"),
        ("compute dtype", run["dtype"]),
    ]
    if run["test_loss"] is not None:
        table += [
            ("held-out loss, base", f"{run['base_test_loss']:.4f}"),
            ("held-out loss, tuned", f"{run['test_loss']:.4f}"),
        ]
    made_with = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return [
        *table,
        ("data digest", f"`{dataset['digest']}`"),
        ("run", f"`{run['key']}`"),
        ("base digest", f"`{base['digest']}`"),
        ("made with", made_with),
    ]


def _exported(export: Facts) -> str:
    agreement = export["agreement"]
    places = "".join(f", and stand in {place}" for place in export["stops_named_in"])
    return f"""
## This folder

Version {export["version"]} of the model as `{export["format"]}`, with {export["weights"]} weights.

    {_USES[export["format"]].replace(chr(10), chr(10) + "    ")}

Before it was published, it was opened with {export["runtime"]}:

* {export["prompts"]} chats were the same tokens as in training.
* The stop tokens {export["stops"]} each ended an answer{places}.
* Of the first {agreement["tokens"]} tokens of its answer, {agreement["same"]} are the package's \
own choice (mean regret {agreement["regret"]:.3f} nats).

> {_quoted(export["question"])}
>
> **{_quoted(export["answer"])}**
"""


def _source(base: Facts) -> str:
    """Return where the base came from; of a folder only its name, since cards are given away."""
    source = str(base.get("source", "?"))
    return Path(source).name if base.get("origin") == "local" else source


def _quoted(text: str) -> str:
    return text.replace("\n", "\n> ")


def _formats(seen: Mapping[str, Mapping[str, Any]], served: str | None) -> str:
    """Return what was measured of each weight format, where several were compared."""
    if not seen:
        return ""
    lines = [
        "",
        f"Served with {served} weights, the smallest that answer as well as fp32:",
        "",
        "| weights | may serve | same answers | right against fp32 | tokens/s | memory | disk |",
        "|---|---|---|---|---|---|---|",
    ]
    for weights, row in seen.items():
        if "problem" in row:
            lines.append(f"| {weights} | no: {row['problem']} | | | | | |")
            continue
        against = ", ".join(
            f"{name} {100 * found['difference']:+.1f}" for name, found in row["quality"].items()
        )
        same = "-" if row["same"] is None else f"{row['same']:.0%}"
        lines.append(
            f"| {weights} | {'yes' if row['allowed'] else 'no'} | {same} | {against} |"
            f" {row['tokens_per_second']:.0f} | {row['memory'] / 1e9:.2f} GB |"
            f" {row['size'] / 1e9:.2f} GB |"
        )
    return "\n".join([*lines, ""])
