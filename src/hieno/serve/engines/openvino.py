"""OpenVINO GenAI on CPUs: continuous batching, paged KV cache, shared prefixes."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # openvino_genai ships no types

from hieno.config import Serve
from hieno.serve.engines import Engine, EngineFailed, Sampling, Token
from hieno.serve.engines.worker import Outcome, Request, Worker
from hieno.serve.model import Model


def open_openvino(folder: Path, model: Model, settings: Serve) -> Engine:
    """Load a converted model; the number of threads and the arithmetic are OpenVINO's choice."""
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    # In GiB; whole ones are all that the scheduler takes.
    scheduler.cache_size = max(1, round(settings.cache_gb))
    scheduler.enable_prefix_caching = True
    scheduler.max_num_seqs = settings.max_requests
    # A long prompt enters in pieces of the default 256 tokens, between which everybody else gets
    # the next token. That changes no answer: `read_model` keeps LongRoPE below its switch.
    pipeline = openvino_genai.ContinuousBatchingPipeline(folder, scheduler, "CPU")
    return Worker("openvino", _Pipeline(pipeline, model.stop_ids), constrains=True)


@dataclass
class _Running:
    request: Request
    handle: Any
    tokens: int = 0


class _Pipeline:
    """The backend: the pipeline batches by itself, we hold one handle for each request."""

    def __init__(self, pipeline: Any, stop_ids: frozenset[int]) -> None:
        self._pipeline = pipeline
        self._stop_ids = stop_ids
        self._running: dict[Request, _Running] = {}
        self._ids = itertools.count()

    def add(self, request: Request) -> None:
        import numpy
        from openvino import Tensor

        prompt = Tensor(numpy.array([request.prompt], dtype=numpy.int64))
        how = _generation_config(request.sampling, self._stop_ids)
        handle = self._pipeline.add_request(next(self._ids), prompt, how)
        self._running[request] = _Running(request, handle)

    def cancel(self, request: Request) -> None:
        running = self._running.pop(request, None)
        if running is not None:
            running.handle.cancel()

    def busy(self) -> bool:
        # Also after the last cancellation: only a step gives its cache blocks back.
        return bool(self._running) or bool(self._pipeline.has_non_finished_requests())

    def step(self) -> list[tuple[Request, Outcome]]:
        if not self.busy():
            return []
        self._pipeline.step()
        outcomes: list[tuple[Request, Outcome]] = []
        for running in list(self._running.values()):
            outcomes.extend((running.request, outcome) for outcome in self._read(running))
        return outcomes

    def _read(self, running: _Running) -> list[Outcome]:
        from openvino_genai import GenerationStatus

        outcomes: list[Outcome] = []
        ended = running.handle.get_status() != GenerationStatus.RUNNING
        while running.handle.can_read():
            for output in running.handle.read().values():
                for token_id in output.generated_ids:
                    running.tokens += 1
                    outcomes.append(self._token(running, int(token_id)))
        if ended:
            del self._running[running.request]
            last = outcomes[-1] if outcomes else None
            if not (isinstance(last, Token) and last.finish):
                outcomes.append(
                    EngineFailed(
                        "the prompt and its answer do not fit the KV cache",
                        hint="shorten the conversation, or raise serve.cache_gb",
                    )
                )
        return outcomes

    def _token(self, running: _Running, token_id: int) -> Token:
        sampling = running.request.sampling
        if token_id in self._stop_ids and not sampling.ignore_eos:
            return Token(token_id, "stop")
        if running.tokens >= sampling.max_new_tokens:
            return Token(token_id, "length")
        return Token(token_id)


def _generation_config(sampling: Sampling, stop_ids: frozenset[int]) -> Any:
    import openvino_genai

    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = sampling.max_new_tokens
    config.repetition_penalty = sampling.repetition_penalty
    config.ignore_eos = sampling.ignore_eos
    config.eos_token_id = min(stop_ids, default=-1)
    config.stop_token_ids = set() if sampling.ignore_eos else set(stop_ids)
    config.do_sample = not sampling.greedy
    if not sampling.greedy:
        config.temperature = sampling.temperature
        config.top_p = sampling.top_p
        if sampling.top_k:
            config.top_k = sampling.top_k
        config.rng_seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
    if sampling.json_schema is not None:
        config.structured_output_config = openvino_genai.StructuredOutputConfig(
            json_schema=sampling.json_schema
        )
    return config
