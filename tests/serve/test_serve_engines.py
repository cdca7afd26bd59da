from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serving import run

from hieno.config import Serve
from hieno.errors import BadData, ConfigError, MissingInput, UsageError
from hieno.serve.answer import Completion, complete
from hieno.serve.batch import generate_all
from hieno.serve.engines import Engine, EngineFailed, Sampling, Token
from hieno.serve.engines.choice import choose_engine, open_engine
from hieno.serve.engines.worker import Outcome, Request, Worker
from hieno.serve.model import Model, read_model
from hieno.templates import render_prompt

GREEDY = Sampling(max_new_tokens=12, ignore_eos=True)
QUESTIONS = [
    "Who?",
    "What is the capital of France?",
    "The ferry leaves the harbour at twenty past six and comes back before noon. " * 4,
    "ä日👍",
]


@pytest.fixture(scope="session")
def prompts(model: Model) -> list[list[int]]:
    return [render_prompt(model.tokenizer, [{"role": "user", "content": q}]) for q in QUESTIONS]


def alone(engine: Engine, model: Model, prompt: list[int], sampling: Sampling) -> Completion:
    return run(complete(engine, model, prompt, sampling))


def together(
    engine: Engine, model: Model, prompts: list[list[int]], sampling: Sampling
) -> list[Completion]:
    async def ask() -> list[Completion]:
        return list(
            await asyncio.gather(*(complete(engine, model, each, sampling) for each in prompts))
        )

    return run(ask())


def test_greedy_answers_are_those_of_transformers_itself(
    engine: Engine, model: Model, prompts: list[list[int]]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model.folder, dtype=torch.float32)
    for prompt in prompts:
        expected = network.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=12,
            min_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
        )[0, len(prompt) :]
        assert alone(engine, model, prompt, GREEDY).token_ids == expected.tolist()


def test_an_answer_in_a_batch_is_the_answer_alone(
    engine: Engine, model: Model, prompts: list[list[int]]
) -> None:
    expected = [alone(engine, model, prompt, GREEDY) for prompt in prompts]
    assert together(engine, model, prompts * 8, GREEDY) == expected * 8
    assert len({tuple(answer.token_ids) for answer in expected}) == len(prompts)


def test_rows_that_end_early_do_not_disturb_the_others(
    engine: Engine, model: Model, prompts: list[list[int]]
) -> None:
    lengths = [1, 9, 3, 12]

    async def ask() -> list[Completion]:
        asked = zip(prompts, lengths, strict=True)
        return list(
            await asyncio.gather(
                *(complete(engine, model, p, replace(GREEDY, max_new_tokens=n)) for p, n in asked)
            )
        )

    for answer, prompt, length in zip(run(ask()), prompts, lengths, strict=True):
        assert answer.token_ids == alone(engine, model, prompt, GREEDY).token_ids[:length]
        assert answer.finish_reason == "length"


def test_the_stop_token_ends_the_answer_and_is_not_part_of_it(
    tiny_model: Path, prompts: list[list[int]], model: Model
) -> None:
    free = generate_all(tiny_model, prompts[:1], GREEDY, engine="transformers")[0]
    stopping = replace(model, stop_ids=frozenset({free.token_ids[4]}))
    opened = open_engine(tiny_model, name="transformers", model=stopping)
    try:
        answer = alone(opened, stopping, prompts[0], Sampling(max_new_tokens=12))
    finally:
        opened.close()
    first = free.token_ids.index(free.token_ids[4])
    assert answer.token_ids == free.token_ids[:first]
    assert answer.finish_reason == "stop"
    assert answer.generated == first + 1
    assert answer.text == model.tokenizer.decode(free.token_ids[:first])


def test_a_seed_repeats_an_answer_whoever_else_is_answered(
    engine: Engine, model: Model, prompts: list[list[int]]
) -> None:
    chance = Sampling(max_new_tokens=12, temperature=1.0, seed=5, ignore_eos=True)
    first = alone(engine, model, prompts[0], chance)
    assert together(engine, model, prompts, chance)[0] == first
    assert alone(engine, model, prompts[0], replace(chance, seed=6)) != first
    unseeded = [alone(engine, model, prompts[0], replace(chance, seed=None)) for _ in range(4)]
    assert len({tuple(answer.token_ids) for answer in unseeded}) > 1


@pytest.mark.parametrize(
    "change",
    [{"top_p": 0.0}, {"top_k": 1}, {"temperature": 1e-9}, {"top_p": 1e-6}, {"top_p": 1e-104}],
)
def test_sampling_that_leaves_one_token_is_greedy(
    engine: Engine, model: Model, prompts: list[list[int]], change: dict[str, Any]
) -> None:
    narrow = replace(GREEDY, **{"temperature": 1.0, **change})
    expected = alone(engine, model, prompts[1], GREEDY)
    assert alone(engine, model, prompts[1], narrow).token_ids == expected.token_ids


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1, temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.3),
        Sampling(1, temperature=1.5, top_k=3),
        Sampling(1, temperature=1.0, top_p=0.5),
        Sampling(1, temperature=2.0, repetition_penalty=0.5),
    ],
)
def test_tokens_are_weighed_as_transformers_weighs_them(sampling: Sampling) -> None:
    import torch
    from transformers import (
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    from hieno.serve.engines.transformers import choose_token, next_shares

    logits = torch.randn(64, generator=torch.Generator().manual_seed(1)) * 2
    seen = [3, 9, 9, 40, *range(50, 60)]
    scores = logits[None]
    for stage in (
        RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty),
        TemperatureLogitsWarper(sampling.temperature),
        TopKLogitsWarper(sampling.top_k or 64),
        TopPLogitsWarper(sampling.top_p),
    ):
        scores = stage(torch.tensor([seen]), scores)
    shares = next_shares(logits, sampling, seen)
    torch.testing.assert_close(shares / shares.sum(), scores.softmax(-1)[0])
    generator = torch.Generator().manual_seed(2)
    drawn = [choose_token(logits, sampling, seen, generator) for _ in range(500)]
    assert set(drawn) <= set(shares.nonzero().flatten().tolist())
    assert len(set(drawn)) > 1


def test_a_cancelled_answer_leaves_the_batch(
    engine: Engine, model: Model, prompts: list[list[int]]
) -> None:
    async def ask() -> Completion:
        endless = Sampling(max_new_tokens=10**6, ignore_eos=True)
        async with aclosing(engine.generate(prompts[0], endless)) as tokens:
            await anext(tokens)
        # It comes after the endless one: an answer in time means that one was dropped.
        return await complete(engine, model, prompts[1], GREEDY)

    assert run(ask(), seconds=20) == alone(engine, model, prompts[1], GREEDY)


def test_stop_strings_over_several_tokens_never_show(
    engine: Engine, model: Model, prompts: list[list[int]]
) -> None:
    text = alone(engine, model, prompts[1], GREEDY).text
    word = text[3:9]
    answer = alone(engine, model, prompts[1], replace(GREEDY, stop=(word,)))
    assert answer.text == text[: text.index(word)]
    assert answer.finish_reason == "stop"


def test_all_prompts_are_answered_in_order_with_progress(
    tiny_model: Path, engine: Engine, model: Model, prompts: list[list[int]]
) -> None:
    told: list[tuple[int, int]] = []
    answers = generate_all(
        tiny_model,
        prompts * 3,
        GREEDY,
        engine="transformers",
        settings=Serve(max_requests=5),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert answers == [alone(engine, model, prompt, GREEDY) for prompt in prompts] * 3
    assert told == [(done, 12) for done in range(13)]


def test_an_answer_ends_where_the_context_ends(tiny_model: Path, model: Model) -> None:
    prompt = [5] * (model.context - 3)
    answer = generate_all(tiny_model, [prompt], GREEDY, engine="transformers")[0]
    assert len(answer.token_ids) == 3
    assert answer.finish_reason == "length"


def test_a_prompt_longer_than_the_context_is_refused_before_any_work(tiny_model: Path) -> None:
    with pytest.raises(BadData) as caught:
        generate_all(tiny_model, [[5], [5] * 2048], GREEDY)
    assert caught.value.message == "prompt 1 has 2048 tokens; the context is 2048"


def test_no_prompts_need_no_model(tiny_model: Path) -> None:
    assert generate_all(tiny_model, [], GREEDY) == []


def test_a_plain_folder_is_served_by_transformers_and_says_why(tiny_model: Path) -> None:
    choice = choose_engine(tiny_model)
    assert choice.name == "transformers"
    assert choice.reason == "the package is not converted for OpenVINO"
    with pytest.raises(MissingInput) as caught:
        choose_engine(tiny_model, "openvino")
    assert caught.value.hint == "`hieno package` converts it; `--engine transformers` always works"
    with pytest.raises(UsageError) as unknown:
        choose_engine(tiny_model, "llama")
    assert unknown.value.message == "there is no engine 'llama'"


def test_longrope_is_served_up_to_its_first_length(tiny_model: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = tmp_path / "longrope"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["max_position_embeddings"] = 131072
    config["original_max_position_embeddings"] = 256
    config["rope_parameters"] = {"rope_type": "longrope"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert read_model(folder, Serve()).context == 256


def test_a_cache_too_small_for_any_answer_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_model(tiny_model, Serve(cache_gb=1e-6))
    assert caught.value.message.startswith("serve.cache_gb: 1e-06 GB hold only 3 tokens of ")


class Breaking:
    """A backend whose second step fails for good."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.steps = 0

    def add(self, request: Request) -> None:
        if not request.prompt:
            raise ValueError("odd")
        self.requests.append(request)

    def cancel(self, request: Request) -> None:
        self.requests.remove(request)

    def busy(self) -> bool:
        return bool(self.requests)

    def step(self) -> list[tuple[Request, Outcome]]:
        self.steps += bool(self.requests)
        if self.steps == 2:
            raise ValueError("broken")
        return [(request, Token(1)) for request in self.requests]

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        return


def test_a_request_that_the_engine_refuses_ends_alone(capfd: pytest.CaptureFixture[str]) -> None:
    worker = Worker("breaking", Breaking())

    async def ask() -> Token:
        with pytest.raises(EngineFailed) as caught:
            await anext(worker.generate([], Sampling(9)))
        assert caught.value.message == "the engine refuses this request"
        async with aclosing(worker.generate([1], Sampling(9))) as tokens:
            return await anext(tokens)

    assert run(ask()) == Token(1)
    assert "ValueError: odd" in capfd.readouterr().err
    worker.close()


def test_a_lost_model_fails_who_waits_and_whoever_comes_later(
    capfd: pytest.CaptureFixture[str],
) -> None:
    worker = Worker("breaking", Breaking())

    async def ask() -> list[Token]:
        return [token async for token in worker.generate([1], Sampling(9))]

    for _ in range(2):
        with pytest.raises(EngineFailed) as caught:
            run(ask())
        assert caught.value.message == "the model has stopped"
    assert not worker.healthy()
    assert "ValueError: broken" in capfd.readouterr().err
    worker.close()
