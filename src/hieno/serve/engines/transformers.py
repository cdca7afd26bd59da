"""Plain transformers: works with every model on every machine, and batches what waits.

A batch is closed while it runs: who comes later waits for the next one. Rows that end or are
cancelled leave at once, so a step never computes for nobody.
"""

from __future__ import annotations

import secrets
import sys
import traceback
from collections import deque
from dataclasses import dataclass, field

import torch
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel

from hieno.config import Serve
from hieno.serve.engines import Engine, EngineFailed, Sampling, Token
from hieno.serve.engines.worker import Outcome, Request, Worker
from hieno.serve.model import Model

_MOST_ROWS = 16


def open_transformers(model: Model, settings: Serve) -> Engine:
    """Load safetensors weights: float32 on a CPU, bfloat16 on a GPU."""
    gpu = torch.cuda.is_available()
    network = AutoModelForCausalLM.from_pretrained(
        model.folder,
        dtype=torch.bfloat16 if gpu else torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    network = network.to("cuda" if gpu else "cpu").eval()
    rows = min(_MOST_ROWS, settings.max_requests)
    # The cache here is float32 and `cache_tokens` counts 16-bit ones.
    return Worker("transformers", _Batches(network, model.stop_ids, rows, model.cache_tokens // 2))


@dataclass
class _Row:
    """One request in the running batch; `seen` marks prompt and answer for the penalty."""

    request: Request
    generator: torch.Generator
    seen: list[int]
    tokens: int = 0


@dataclass
class _Batch:
    """What the next step of the running batch needs: one line of `inputs` for each row."""

    rows: list[_Row]
    inputs: torch.Tensor
    mask: torch.Tensor
    cache: DynamicCache
    cancelled: set[Request] = field(default_factory=set)


class _Batches:
    """The backend: a queue and at most one running batch, padded on the left."""

    def __init__(
        self, network: PreTrainedModel, stop_ids: frozenset[int], rows: int, cache_tokens: int
    ) -> None:
        self._network = network
        self._stop_ids = stop_ids
        self._most_rows = rows
        self._cache_tokens = cache_tokens
        self._waiting: deque[Request] = deque()
        self._batch: _Batch | None = None

    def add(self, request: Request) -> None:
        self._waiting.append(request)

    def cancel(self, request: Request) -> None:
        if request in self._waiting:
            self._waiting.remove(request)
        elif self._batch is not None:
            self._batch.cancelled.add(request)

    def busy(self) -> bool:
        return self._batch is not None or bool(self._waiting)

    @torch.inference_mode()
    def step(self) -> list[tuple[Request, Outcome]]:
        try:
            if self._batch is not None:
                self._keep([row.request not in self._batch.cancelled for row in self._batch.rows])
            if self._batch is None:
                self._start_batch()
            return self._advance()
        except RuntimeError:  # out of memory is one: it ends this batch and not the model
            traceback.print_exc(file=sys.stderr)
            return self._abandon()

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        return

    def _start_batch(self) -> None:
        taken = self._take()
        if not taken:
            return
        device = self._network.device
        width = max(len(request.prompt) for request in taken)
        padded = [[0] * (width - len(r.prompt)) + list(r.prompt) for r in taken]
        real = [[0] * (width - len(r.prompt)) + [1] * len(r.prompt) for r in taken]
        self._batch = _Batch(
            rows=[_Row(each, _generator(each.sampling), list(each.prompt)) for each in taken],
            inputs=torch.tensor(padded, device=device),
            mask=torch.tensor(real, device=device),
            cache=DynamicCache(config=self._network.config),
        )

    def _take(self) -> list[Request]:
        """Take waiting requests, first come first, as many as rows and cache allow (at least 1)."""
        taken: list[Request] = []
        longest = 0
        while self._waiting and len(taken) < self._most_rows:
            request = self._waiting[0]
            longest = max(longest, len(request.prompt) + request.sampling.max_new_tokens)
            if taken and longest * (len(taken) + 1) > self._cache_tokens:
                break
            taken.append(self._waiting.popleft())
        return taken

    def _advance(self) -> list[tuple[Request, Outcome]]:
        batch = self._batch
        if batch is None:
            return []
        positions = (batch.mask.cumsum(dim=-1) - 1).clamp(min=0)
        output = self._network(
            input_ids=batch.inputs,
            attention_mask=batch.mask,
            position_ids=positions[:, -batch.inputs.shape[1] :],
            past_key_values=batch.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1].float().cpu()
        tokens = [self._choose(row, logits[i]) for i, row in enumerate(batch.rows)]
        outcomes: list[tuple[Request, Outcome]] = [
            (row.request, token) for row, token in zip(batch.rows, tokens, strict=True)
        ]
        batch.inputs = torch.tensor([[token.id] for token in tokens], device=batch.mask.device)
        batch.mask = torch.cat([batch.mask, batch.mask.new_ones(len(tokens), 1)], dim=1)
        self._keep([token.finish is None for token in tokens])
        return outcomes

    def _choose(self, row: _Row, logits: torch.Tensor) -> Token:
        token_id = choose_token(logits, row.request.sampling, row.seen, row.generator)
        row.tokens += 1
        row.seen.append(token_id)
        if token_id in self._stop_ids and not row.request.sampling.ignore_eos:
            return Token(token_id, "stop")
        if row.tokens >= row.request.sampling.max_new_tokens:
            return Token(token_id, "length")
        return Token(token_id)

    def _keep(self, kept: list[bool]) -> None:
        batch = self._batch
        if batch is None or all(kept):
            return
        indices = [i for i, keep in enumerate(kept) if keep]
        if not indices:
            self._batch = None
            return
        chosen = torch.tensor(indices, device=batch.mask.device)
        batch.rows = [batch.rows[i] for i in indices]
        batch.inputs, batch.mask = batch.inputs[chosen], batch.mask[chosen]
        batch.cache.batch_select_indices(chosen)

    def _abandon(self) -> list[tuple[Request, Outcome]]:
        rows = self._batch.rows if self._batch is not None else []
        self._batch = None
        failure = "the model could not compute this answer"
        hint = "ask again, or for a shorter answer"
        return [(row.request, EngineFailed(failure, hint=hint)) for row in rows]


def choose_token(
    logits: torch.Tensor, sampling: Sampling, seen: list[int], generator: torch.Generator
) -> int:
    """Choose the next token from one row of logits."""
    if sampling.greedy:
        return int(_penalised(logits, sampling, seen).argmax())
    shares = next_shares(logits, sampling, seen)
    return int(torch.multinomial(shares, num_samples=1, generator=generator))


def next_shares(logits: torch.Tensor, sampling: Sampling, seen: list[int]) -> torch.Tensor:
    """Return each token's weight in the draw, filtered in the order that transformers does it."""
    scores = _penalised(logits, sampling, seen) / sampling.temperature
    ordered, order = scores.sort(descending=True)
    if sampling.top_k:
        ordered[sampling.top_k :] = -torch.inf
    shares = ordered.softmax(dim=-1)
    # A token is kept while the ones before it do not yet reach top_p, so the first always is.
    shares = shares * (shares.cumsum(dim=-1) - shares < sampling.top_p)
    return torch.zeros_like(shares).scatter(0, order, shares)


def _penalised(logits: torch.Tensor, sampling: Sampling, seen: list[int]) -> torch.Tensor:
    if sampling.repetition_penalty == 1.0:
        return logits
    known = torch.tensor(sorted(set(seen)))
    scores, penalty = logits[known], sampling.repetition_penalty
    logits = logits.clone()
    logits[known] = torch.where(scores < 0, scores * penalty, scores / penalty)
    return logits


def _generator(sampling: Sampling) -> torch.Generator:
    seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
    return torch.Generator().manual_seed(seed)
