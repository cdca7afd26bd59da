"""Whether an exported model is still the package: same prompts, same stops, same answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from hieno.errors import HienoError
from hieno.export.hearing import Heard, Request

# How much less likely than its own choice the package may find an answer, in nats a token. On the
# demo model int8 weights cost 0.04 and int4 weights 0.46; one word said on and on costs 1.9, an
# answer to something else 3, noise 12.
MOST_REGRET = 1.0
# The mean is taken over every beginning of at least so many tokens, since one word said over and
# over soon becomes what the package itself would say next.
BEGINNING = 8
_HINT = "nothing was written; another --weights or --to may do better"


@dataclass(frozen=True)
class Agreement:
    """How an answer compares with what the package would say after each of its beginnings.

    Where all `tokens` are its own choice, the package's greedy answer is this one. `regret` is
    the mean difference in log-probability between its choice and the token heard, over the worst
    beginning.
    """

    tokens: int
    same: int
    regret: float


def check_prompts(request: Request, heard: Heard, *, title: str) -> None:
    """Refuse an export that reads a chat as other tokens than the model was trained on."""
    for expected, found in zip(request.prompts, heard.prompts, strict=True):
        if found != expected:
            raise HienoError(
                f"the {title} reads a chat as other tokens than the model was trained on"
                f" ({_difference(expected, found)}), in"
                f" {heard.runtime}",
                hint="nothing was written; another --to keeps this tokenizer, or serve the"
                " package with `hieno deploy`",
            )


def check_stops(
    declared: Mapping[str, Set[int]], request: Request, heard: Heard, *, title: str
) -> None:
    """Refuse an export where a stop token is not named in its settings or does not end an answer.

    `declared` are the stop tokens by the place that names them.
    """
    for place, tokens in declared.items():
        if missing := sorted(set(request.stops) - tokens):
            raise HienoError(
                f"the stop token {missing[0]} of generation_config.json is not in {place}, so"
                f" answers of the {title} would run on",
                hint="nothing was written; choose another --to",
            )
    if running := [stop for stop in request.stops if not heard.stopped[stop]]:
        raise HienoError(
            f"{heard.runtime} goes on after the stop token {running[0]}, so answers of the"
            f" {title} would run on",
            hint="nothing was written; choose another --to",
        )


def compare(model: Path, request: Request, heard: Heard, *, title: str) -> Agreement:
    """Weigh an answer with the package's own weights, in float32; refuse one that is garbage."""
    if not heard.answer:
        raise HienoError(f"the {title} was opened again and gave no answer", hint=_HINT)
    found = _weigh(model, request.prompts[0], heard.answer)
    if not found.regret <= MOST_REGRET:
        raise HienoError(
            f"the {title} answers {heard.text[:80]!r}, which the package would not say: only"
            f" {found.same} of {found.tokens} tokens are its own choice (mean regret"
            f" {found.regret:.1f} nats)",
            hint=_HINT,
        )
    return found


def _weigh(model: Path, prompt: Sequence[int], answer: Sequence[int]) -> Agreement:
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.float32, local_files_only=True, trust_remote_code=False
    ).eval()
    with torch.no_grad():
        logits = network(
            torch.tensor([[*prompt, *answer]]), use_cache=False, logits_to_keep=len(answer) + 1
        ).logits[0]
    shares = logits[:-1].float().log_softmax(dim=-1)
    likeliest, own = shares.max(dim=-1)
    given = torch.tensor(list(answer))
    regret = likeliest - shares.gather(1, given[:, None])[:, 0]
    means = regret.cumsum(dim=0) / torch.arange(1, len(answer) + 1)
    worst = means[min(BEGINNING, len(answer)) - 1 :].max()
    return Agreement(len(answer), int((own == given).sum()), float(worst))


def _difference(expected: Sequence[int], found: Sequence[int]) -> str:
    place = next(
        (i for i, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]),
        min(len(expected), len(found)),
    )
    shown = [
        str(tokens[place]) if place < len(tokens) else "no token" for tokens in (found, expected)
    ]
    return f"token {place} is {shown[0]} instead of {shown[1]}"
