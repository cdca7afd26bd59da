"""`python -m hieno.serve.engines.openvino_process`: the process that holds an OpenVINO model.

The first line on stdin is the order: `folder`, `cache_size` (GiB), `max_num_seqs`, `stop_ids`. It
is answered with `{}` when the model is loaded. Every line after it is one step:

    {"come": [[number, prompt, sampling]], "gone": [number]}
    -> {"tokens": [[number, token, finish]], "failures": [[number, message, hint]], "busy": bool}

It ends with its stdin.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import Any  # openvino_genai ships no types; messages are JSON

from hieno.serve.engines import Finish, Sampling

FULL = (
    "the prompt and its answer do not fit the KV cache",
    "shorten the conversation, or raise serve.cache_gb",
)
REFUSED = ("the engine refuses this request", "change its settings")


def main() -> int:
    """Load the model that the first line names, then compute a step for every line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever holds the other end
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    pipeline: _Pipeline | None = None
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if pipeline is None:
            pipeline, answer = _Pipeline(message), {}
        else:
            answer = pipeline.step(message["come"], message["gone"])
        try:
            out.write(json.dumps(answer).encode() + b"\n")
            out.flush()
        except BrokenPipeError:
            break
    return 0


@dataclass
class _Running:
    sampling: Sampling
    handle: Any
    tokens: int = 0


class _Pipeline:
    """The pipeline batches by itself; one handle is held for each request."""

    def __init__(self, order: dict[str, Any]) -> None:
        import openvino_genai

        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = order["cache_size"]
        scheduler.enable_prefix_caching = True
        scheduler.max_num_seqs = order["max_num_seqs"]
        # A long prompt enters in pieces of the default 256 tokens, between which everybody else
        # gets the next token. That changes no answer: `read_model` keeps LongRoPE below its switch.
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            order["folder"], scheduler, "CPU"
        )
        self._stop_ids = frozenset(order["stop_ids"])
        self._running: dict[int, _Running] = {}
        self._tokens: list[tuple[int, int, Finish | None]] = []
        self._failures: list[tuple[int, str, str]] = []

    def step(self, come: list[Any], gone: list[int]) -> dict[str, Any]:
        """Let requests in and out, compute one step, and say what came of it."""
        self._tokens, self._failures = [], []
        for number, prompt, sampling in come:
            self._add(number, prompt, Sampling(**sampling))
        for number in gone:
            if running := self._running.pop(number, None):
                running.handle.cancel()
        if self._busy():
            self._pipeline.step()
        for number, running in list(self._running.items()):
            self._read(number, running)
        return {"tokens": self._tokens, "failures": self._failures, "busy": self._busy()}

    def _busy(self) -> bool:
        return bool(self._running) or bool(self._pipeline.has_non_finished_requests())

    def _add(self, number: int, prompt: list[int], sampling: Sampling) -> None:
        import numpy
        from openvino import Tensor

        ids = Tensor(numpy.array([prompt], dtype=numpy.int64))
        try:
            how = _generation_config(sampling, self._stop_ids)
            handle = self._pipeline.add_request(number, ids, how)
        except Exception:  # a library's objection to one request must not end all the others
            traceback.print_exc(file=sys.stderr)
            self._failures.append((number, *REFUSED))
        else:
            self._running[number] = _Running(sampling, handle)

    def _read(self, number: int, running: _Running) -> None:
        from openvino_genai import GenerationStatus

        ended = running.handle.get_status() != GenerationStatus.RUNNING
        finish: Finish | None = None
        while running.handle.can_read():
            for output in running.handle.read().values():
                for token_id in output.generated_ids:
                    running.tokens += 1
                    finish = self._finish(running, int(token_id))
                    self._tokens.append((number, int(token_id), finish))
        if ended:
            del self._running[number]
            if finish is None:
                self._failures.append((number, *FULL))

    def _finish(self, running: _Running, token_id: int) -> Finish | None:
        if token_id in self._stop_ids and not running.sampling.ignore_eos:
            return "stop"
        return "length" if running.tokens >= running.sampling.max_new_tokens else None


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


if __name__ == "__main__":
    sys.exit(main())
