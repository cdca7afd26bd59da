"""Each stage's result in one line, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # facts are JSON

from hieno.reporting import duration

Facts = Mapping[str, Any]


def model(facts: Facts) -> str:
    """Name the base model, its licence and the engine that serves it."""
    return (
        f"{facts['source']} ({facts.get('licence') or 'licence unknown'}), engine {facts['engine']}"
    )


def data(facts: Facts) -> str:
    """Count the rows on each side."""
    rows = facts["rows"]
    parts = [f"{rows['train']} chats to learn", f"{rows['test']} held out"]
    if rows["replay"]:
        parts.append(f"{rows['replay']} replayed")
    aside = rows["rejected"]
    codes = ", ".join(f"{count} {code}" for code, count in facts["rejected_by_code"].items())
    parts.append(f"{aside} set aside ({codes})" if aside else "none set aside")
    return ", ".join(parts)


def train(facts: Facts) -> str:
    """Say how long it learnt and what that did to the held-out loss."""
    line = f"{facts['steps']} steps in {facts['dtype']}"
    if facts["test_loss"] is None:
        return line
    return f"{line}, held-out loss {facts['base_test_loss']:.2f} -> {facts['test_loss']:.2f}"


def estimate(facts: Facts) -> list[str]:
    """Say what a training will take: what is learnt, in which steps, how long, in which memory."""
    memory = {name: facts["processes"] * size / 1e9 for name, size in facts["memory"].items()}
    share = facts["supervised"] / facts["tokens"]
    lines = [
        f"learn    {facts['chats']} chats, {facts['tokens']} tokens an epoch, {share:.0%} of them"
        " supervised",
        f"steps    {facts['steps']}, {facts['method']} in {facts['dtype']}, {facts['kernels']}",
        f"time     {duration(facts['seconds'])} for the steps, at "
        f"{facts['tokens_per_second']:.0f} tokens/s (timed here, on chats of this project)",
        f"memory   {facts['peak_memory'] / 1e9:.1f} GB at their peak (measured); reckoned "
        f"{memory['total']:.1f}: weights {memory['weights']:.1f}, what is trained "
        f"{memory['trained']:.1f}, activations {memory['activations']:.1f}, logits "
        f"{memory['logits']:.1f}, the rest {memory['process']:.1f}",
    ]
    return [*lines, f"changed  {facts['changed']}"] if facts["changed"] else lines


def package(facts: Facts) -> str:
    """Quote the question that the package was asked."""
    asked = facts["reopened"]
    weights = facts.get("weights")
    engine = facts["engine"] + (f" with {weights} weights" if weights else "")
    return f"{engine}; opened again: {asked['question']!r} -> {asked['answer']!r}"


def export(facts: Facts) -> list[str]:
    """Say what was heard from an exported version, and how it compares with the package."""
    agreement = facts["agreement"]
    places = ", ".join(facts["stops_named_in"])
    return [
        f"asked   {facts['question']!r} -> {facts['answer']!r}",
        f"same    {agreement['same']} of {agreement['tokens']} tokens are the package's own choice",
        f"prompt  {facts['prompts']} chats are the same tokens as in training",
        f"stops   {facts['stops']} end an answer" + (f", and stand in {places}" if places else ""),
        f"with    {facts['runtime']}",
    ]


def evaluate(facts: Facts) -> str:
    """Compare base and tuned model, and say what the gate says."""
    base, tuned = facts["scores"]["base"], facts["scores"]["tuned"]
    parts = []
    if tuned["facts"]["of"]:
        parts.append(f"held-out right {_percent(base['facts'])} -> {_percent(tuned['facts'])}")
    elif tuned["token_f1"] is not None:
        parts.append(f"held-out word overlap {base['token_f1']:.2f} -> {tuned['token_f1']:.2f}")
    if tuned["general"]["of"]:
        known = tuned["general"]
        parts.append(f"general {base['general']['right']} -> {known['right']} of {known['of']}")
        parts.append(f"bleed {tuned['bleed']}")
    return f"{facts['verdict']['word']}: {', '.join(parts) or 'nothing was held out'}"


def register(facts: Facts) -> str:
    """Name the version and its alias."""
    forced = ", forced past the gate" if facts["gate"]["waiver"] else ""
    return f"{facts['name']} version {facts['version']}, {facts['alias']}{forced}"


def deploy(status: Facts) -> str:
    """Name the address and who answers there."""
    shares = [f"{name} {share}%" for name, share in status["traffic"].items() if share]
    doing = [
        f"{name} is {one['doing']}" for name, one in status["deployments"].items() if one["doing"]
    ]
    return f"{status['url']} ({', '.join(shares + doing)})"


def flow(status: Facts) -> str:
    """Name the page and the proof."""
    what = "agent" if status["framework"] == "agent-framework" else "page"
    return f"two-turn chat answered; {what} at {status['url']}"


def ending(details: Mapping[str, Facts]) -> list[str]:
    """Return the closing lines: one question to both models, and where to chat.

    `details` are the stages' details by name, as far as they have come.
    """
    lines = []
    if shown := details.get("evaluate", {}).get("shown"):
        example = shown[0]
        lines += [
            f"asked    {example['question']}",
            f"  base   {_one_line(example['base'])}",
            f"  tuned  {_one_line(example['tuned'])}",
        ]
    if "deploy" in details:
        lines.append(f"endpoint {details['deploy']['score_url']} (keys: `hieno keys`)")
        lines.append("page     `hieno chat --web` prints a link to the chat page")
    if "flow" in details:
        lines.append(f"chat     {details['flow']['url']} or `hieno chat` here")
    return lines


def _one_line(text: str, width: int = 100) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def _percent(share: Facts) -> str:
    return f"{share['share']:.0%}"
