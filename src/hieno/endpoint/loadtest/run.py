"""Drive an endpoint through levels of load and say what it can bear."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any  # JSON for `--json`

import httpx
from pydantic import SecretStr

from hieno.chat import completions
from hieno.endpoint.loadtest.arrivals import Pattern, drive
from hieno.endpoint.loadtest.client import Ask, Outcome, Prompts, request
from hieno.errors import Unreachable

USED = 0.7  # of an instance's capacity: requests that come at random need room to queue
TIMEOUT = 600.0  # seconds
SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Quantiles:
    """Times in seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Level:
    """What one pattern gave. `seconds` is until the last answer, `failed` counts by reason."""

    pattern: str
    kind: str
    load: float
    seconds: float
    answered: int
    failed: Mapping[str, int]
    requests_per_second: float
    tokens_per_second: float
    latency: Quantiles | None
    first_token: Quantiles | None


@dataclass(frozen=True)
class Sizing:
    """How many instances a rate needs; None where no level was good enough to tell."""

    requests_per_second: float
    within: float
    per_instance: float | None
    instances: int | None


@dataclass(frozen=True)
class Report:
    """A load test's conditions and results."""

    url: str
    model: str
    instances: int
    max_new_tokens: int
    levels: tuple[Level, ...]
    sizing: Sizing | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)


def loadtest(
    url: str,
    key: SecretStr,
    *,
    patterns: Sequence[Pattern],
    seconds: float = 10.0,
    max_new_tokens: int = 64,
    stream: bool = True,
    seed: int = 0,
    sustain: float | None = None,
    within: float = 10.0,
    instances: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Measure an endpoint under each pattern in turn, with prompts of which no two are alike.

    `sustain` asks how many instances so many requests a second need, where 95% of the answers
    are to be whole `within` seconds. Raises `Unreachable` where nothing at all was answered.
    """
    with completions.connect(url, key, None) as client:
        model = completions.model(client, say=say)
        base, headers = str(client.base_url), dict(client.headers)
    ask = Ask(model, max_new_tokens, stream)
    levels = asyncio.run(_measure(base, headers, ask, patterns, seconds, seed, say))
    if not any(level.answered for level in levels):
        reasons = sum((Counter(level.failed) for level in levels), Counter[str]())
        raise Unreachable(
            f"{base} answered none of {reasons.total()} requests ({_counts(reasons)})",
            hint="`hieno status` shows the endpoint; `hieno logs` what it says",
        )
    sizing = size(levels, sustain, within=within, instances=instances) if sustain else None
    conditions = {"seconds": seconds, "stream": stream, "seed": seed, "prompt": "about 100 tokens"}
    return Report(base, model, instances, max_new_tokens, tuple(levels), sizing, conditions)


def size(levels: Sequence[Level], wanted: float, *, within: float, instances: int) -> Sizing:
    """Return how many instances a rate needs, each used to 70% of the most it has shown.

    Only levels count that failed nowhere and were in time.
    """
    good = [
        level.requests_per_second
        for level in levels
        if level.latency and not level.failed and level.latency.p95 <= within
    ]
    if not good:
        return Sizing(wanted, within, None, None)
    each = max(good) / instances
    return Sizing(wanted, within, each, math.ceil(wanted / (USED * each)))


def summary(pattern: Pattern, outcomes: Sequence[Outcome]) -> Level:
    """Count and time the requests of one level."""
    whole = [one for one in outcomes if not one.problem]
    began = min(one.began for one in outcomes)
    took = max(max(one.ended for one in outcomes) - began, 1e-9)
    return Level(
        pattern=str(pattern),
        kind=pattern.kind,
        load=pattern.load,
        seconds=took,
        answered=len(whole),
        failed=dict(Counter(one.problem for one in outcomes if one.problem)),
        requests_per_second=len(whole) / took,
        tokens_per_second=sum(one.tokens for one in whole) / took,
        latency=_quantiles([one.ended - one.began for one in whole]),
        first_token=_quantiles([one.first - one.began for one in whole if one.first is not None]),
    )


async def _measure(
    url: str,
    headers: Mapping[str, str],
    ask: Ask,
    patterns: Sequence[Pattern],
    seconds: float,
    seed: int,
    say: Callable[[str], None],
) -> list[Level]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    prompts = Prompts(seed)
    levels = []
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=TIMEOUT, limits=limits, trust_env=False
    ) as client:
        await request(client, ask, prompts.next())  # the first one pays for what is set up once
        for pattern in patterns:
            outcomes = await drive(
                pattern,
                lambda due: request(client, ask, prompts.next(), due=due),
                seconds=seconds,
                seed=seed,
            )
            if not outcomes:  # a low rate may have no arrival within a short time
                say(f"{pattern}: no request was due in {seconds:g} s")
                continue
            levels.append(summary(pattern, outcomes))
            say(f"{pattern}: {levels[-1].answered} answers, {_counts(levels[-1].failed)}")
    return levels


def _quantiles(times: Sequence[float]) -> Quantiles | None:
    """Return the smallest times that at least such shares do not exceed (nearest rank)."""
    if not times:
        return None
    ordered = sorted(times)
    return Quantiles(*(ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in SHARES))


def _counts(failed: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in failed.items()) or "none failed"
