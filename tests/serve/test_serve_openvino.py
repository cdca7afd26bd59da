"""The OpenVINO engine on a converted model.

Its arithmetic may be bfloat16 and then depends a little on who shares the batch, so answers are
compared as most of them, not as all of them.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import Client, error_of, run

from hieno.config import Serve
from hieno.errors import HienoError
from hieno.serve.answer import Completion, complete
from hieno.serve.batch import generate_all
from hieno.serve.engines import Engine, EngineFailed, Sampling
from hieno.serve.engines.choice import choose_engine, open_engine
from hieno.serve.engines.openvino import open_openvino
from hieno.serve.model import Model, read_model
from hieno.templates import render_prompt

pytest.importorskip("openvino_genai")

SETTINGS = Serve(cache_gb=1, max_requests=4)
PROCESS = "hieno.serve.engines.openvino_process"
GREEDY = Sampling(max_new_tokens=8, ignore_eos=True)


@pytest.fixture(scope="module")
def package(request: pytest.FixtureRequest) -> Path:
    try:
        root = request.getfixturevalue("tiny_package")
    except pytest.FixtureLookupError:
        root = None
    if root is None:
        pytest.skip("no converted tiny model")
    assert isinstance(root, Path)
    return root


@pytest.fixture(scope="module")
def converted(package: Path) -> Model:
    return read_model(package, SETTINGS)


@pytest.fixture(scope="module")
def openvino(package: Path, converted: Model) -> Iterator[Engine]:
    opened = open_engine(package, settings=SETTINGS, model=converted)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def prompts(converted: Model) -> list[list[int]]:
    questions = [f"What is number {number * 7919}?" for number in range(16)]
    tokenizer = converted.tokenizer
    return [render_prompt(tokenizer, [{"role": "user", "content": q}]) for q in questions]


def alone(
    engine: Engine, model: Model, prompt: list[int], sampling: Sampling = GREEDY
) -> Completion:
    return run(complete(engine, model, prompt, sampling))


def test_a_converted_package_is_served_by_openvino_and_says_why(
    package: Path, openvino: Engine
) -> None:
    choice = choose_engine(package)
    assert (choice.name, choice.reason) == ("openvino", "the package has openvino-fp32")
    assert openvino.name == "openvino"
    assert choose_engine(package, "transformers").reason == "it was asked for"


def test_most_greedy_answers_are_those_of_transformers(
    package: Path, openvino: Engine, converted: Model, prompts: list[list[int]]
) -> None:
    answers = [alone(openvino, converted, prompt) for prompt in prompts[:8]]
    reference = generate_all(package, prompts[:8], GREEDY, engine="transformers")
    same = sum(a.token_ids == b.token_ids for a, b in zip(answers, reference, strict=True))
    assert same >= 6
    assert all(answer.finish_reason == "length" for answer in answers)


def test_the_same_request_gets_the_same_answer(
    openvino: Engine, converted: Model, prompts: list[list[int]]
) -> None:
    assert alone(openvino, converted, prompts[0]) == alone(openvino, converted, prompts[0])
    chance = replace(GREEDY, temperature=1.0, seed=5)
    first = alone(openvino, converted, prompts[0], chance)
    assert alone(openvino, converted, prompts[0], chance) == first
    assert alone(openvino, converted, prompts[0], replace(chance, seed=6)) != first


def test_nobody_gets_anothers_answer(
    openvino: Engine, converted: Model, prompts: list[list[int]]
) -> None:
    async def together() -> list[Completion]:
        asked = (complete(openvino, converted, prompt, GREEDY) for prompt in prompts)
        return list(await asyncio.gather(*asked))

    expected = [alone(openvino, converted, prompt).token_ids for prompt in prompts]
    answers = [answer.token_ids for answer in run(together())]
    assert sum(a == b for a, b in zip(answers, expected, strict=True)) >= 12


def test_cancelled_answers_free_their_places(
    openvino: Engine, converted: Model, prompts: list[list[int]]
) -> None:
    async def ask() -> Completion:
        endless = Sampling(max_new_tokens=10**6, ignore_eos=True)
        for prompt in prompts[: SETTINGS.max_requests]:
            async with aclosing(openvino.generate(prompt, endless)) as tokens:
                await anext(tokens)
        return await complete(openvino, converted, prompts[0], GREEDY)

    # Had one of them kept its place, this answer would wait for a million tokens.
    assert len(run(ask(), seconds=20).token_ids) == 8
    assert openvino.healthy()


def test_the_stop_token_ends_the_answer_and_is_not_part_of_it(
    package: Path, openvino: Engine, converted: Model, prompts: list[list[int]]
) -> None:
    free = alone(openvino, converted, prompts[0]).token_ids
    stopping = replace(converted, stop_ids=frozenset({free[3]}))
    opened = open_engine(package, name="openvino", settings=SETTINGS, model=stopping)
    try:
        answer = alone(opened, stopping, prompts[0], replace(GREEDY, ignore_eos=False))
    finally:
        opened.close()
    assert answer.token_ids == free[: free.index(free[3])]
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize(
    "extreme",
    [
        {"temperature": 1.1e-5},
        {"temperature": 1.0, "top_p": 1e-9},
        {"temperature": 2.0, "top_k": 1000},
        {"repetition_penalty": 0.1},
        {"temperature": 1.0, "seed": 2**63 - 1},
    ],
)
def test_extreme_settings_are_answered(
    openvino: Engine, converted: Model, prompts: list[list[int]], extreme: dict[str, float]
) -> None:
    answer = alone(openvino, converted, prompts[0], replace(GREEDY, **extreme))
    assert len(answer.token_ids) == 8
    assert openvino.healthy()


PERSON = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["captain", "carpenter"]},
        "boats": {"type": "array", "items": {"type": "boolean"}},
    },
    "required": ["kind", "boats"],
    "additionalProperties": False,
}


def follows(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and list(value) == ["kind", "boats"]
        and value["kind"] in ("captain", "carpenter")
        and all(isinstance(boat, bool) for boat in value["boats"])
    )


@pytest.fixture
def client(openvino: Engine, converted: Model) -> Client:
    return Client(openvino, converted, SETTINGS)


def test_an_answer_follows_its_schema_on_every_route(client: Client) -> None:
    named = {"name": "person", "schema": PERSON, "strict": True}
    chats = [
        client.chat(
            max_tokens=300,
            temperature=1.0,
            seed=seed,
            response_format={"type": "json_schema", "json_schema": named},
        ).json()["choices"][0]
        for seed in range(4)
    ]
    texts = [chat["message"]["content"] for chat in chats if chat["finish_reason"] == "stop"]
    assert texts
    assert all(follows(json.loads(text)) for text in texts)
    wanted = {"format": {"type": "json_schema", **named}}
    sampled = {"max_output_tokens": 300, "temperature": 1.0}  # greedily, a list may never end
    answers = [client.respond(f"{n}?", **sampled, text=wanted).json() for n in range(8)]
    whole = [answer for answer in answers if answer["status"] == "completed"]
    texts = [answer["output"][0]["content"][0]["text"] for answer in whole]
    assert texts
    assert all(follows(json.loads(text)) for text in texts)
    assert answers[0]["text"] == wanted


def test_a_json_answer_begins_as_an_object(client: Client) -> None:
    fields = {"max_tokens": 8, "response_format": {"type": "json_object"}}
    text = client.chat(**fields).json()["choices"][0]["message"]["content"]
    assert text.startswith("{")
    refused = client.chat(**fields, ignore_eos=True)
    assert error_of(refused)["param"] == "ignore_eos"


NAMES = st.text("ab_-9", min_size=1, max_size=4)
PLAIN = st.one_of(
    st.text(max_size=6),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.booleans(),
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "null", "object", "array"])
WORDS = st.one_of(
    st.fixed_dictionaries({"type": TYPES | st.lists(TYPES, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"enum": st.lists(PLAIN, min_size=1, max_size=4)}),
    st.fixed_dictionaries({"const": PLAIN}),
    st.builds(lambda name: {"$ref": f"#/$defs/{name}"}, st.sampled_from(["a", "b"])),
)


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.dictionaries(NAMES, inner, max_size=3)
    return st.one_of(
        st.builds(
            lambda kind, properties, more, needed: {
                **kind,
                "properties": properties,
                "additionalProperties": more,
                "required": list(properties)[:needed],
            },
            st.sampled_from([{}, {"type": "object"}, {"type": "string"}]),
            some,
            st.booleans(),
            st.integers(0, 3),
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.builds(lambda one, two: {**one, **two}, inner, inner),
    )


SCHEMAS = st.recursive(WORDS, larger, max_leaves=8)


def any_accepted_schema_leaves_the_engine_alive(client: Client, schema: dict[str, Any]) -> bool:
    format_ = {"type": "json_schema", "json_schema": {"name": "any", "schema": schema}}
    response = client.chat(max_tokens=6, temperature=1.0, seed=1, response_format=format_)
    assert response.status_code in (200, 400)
    # A schema that cannot be compiled would end the engine for everybody.
    assert client.service.engine.healthy()
    return response.status_code == 200


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    definitions = st.fixed_dictionaries({"a": SCHEMAS, "b": SCHEMAS})
    return st.builds(lambda root, defined: {**root, "$defs": defined}, SCHEMAS, definitions)


def test_any_accepted_schema_leaves_the_engine_alive(client: Client) -> None:
    accepted = 0

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(schema=schemas())
    def ask(schema: dict[str, Any]) -> None:
        nonlocal accepted
        accepted += any_accepted_schema_leaves_the_engine_alive(client, schema)

    ask()
    assert accepted > 50


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas())
def test_two_thousand_schemas_leave_the_engine_alive(
    client: Client, schema: dict[str, Any]
) -> None:
    any_accepted_schema_leaves_the_engine_alive(client, schema)


def process_of(engine: Engine) -> psutil.Process:
    """Return the process that holds the engine's model: the youngest of ours that does."""
    held = [p for p in psutil.Process().children() if PROCESS in p.cmdline()]
    return max(held, key=lambda process: process.create_time())


def test_the_model_is_held_by_a_process_that_an_interrupt_leaves_alone_and_that_ends_with_it(
    package: Path, converted: Model, prompts: list[list[int]]
) -> None:
    opened = open_engine(package, settings=SETTINGS, model=converted)
    process = process_of(opened)
    process.send_signal(signal.SIGINT)
    assert alone(opened, converted, prompts[0]).finish_reason == "length"
    opened.close()
    assert not process.is_running()


def test_a_process_that_is_killed_ends_who_waits_and_is_not_healthy(
    package: Path, converted: Model, prompts: list[list[int]]
) -> None:
    opened = open_engine(package, settings=SETTINGS, model=converted)

    async def ask() -> None:
        endless = Sampling(max_new_tokens=10**6, ignore_eos=True)
        async with aclosing(opened.generate(prompts[0], endless)) as tokens:
            await anext(tokens)
            process_of(opened).kill()
            async for _ in tokens:
                pass

    with pytest.raises(EngineFailed, match="the model has stopped"):
        run(ask())
    assert not opened.healthy()
    opened.close()


def test_a_process_that_is_killed_while_nobody_asks_is_found_out(
    package: Path, converted: Model
) -> None:
    opened = open_engine(package, settings=SETTINGS, model=converted)
    assert opened.healthy()
    process = process_of(opened)
    process.kill()
    psutil.wait_procs([process])
    assert not opened.healthy()
    opened.close()


def test_a_folder_that_openvino_cannot_load_is_one_error(
    tmp_path: Path, package: Path, converted: Model, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HienoError, match="before the model was loaded") as caught:
        open_openvino(tmp_path, converted, SETTINGS)
    assert "`--engine transformers` always works" in caught.value.hint
    assert "Traceback" in capfd.readouterr().err


def test_a_request_that_openvino_refuses_ends_alone(
    openvino: Engine, converted: Model, prompts: list[list[int]]
) -> None:
    with pytest.raises(EngineFailed, match="the engine refuses this request"):
        alone(openvino, converted, prompts[0], replace(GREEDY, repetition_penalty=-1.0))
    assert alone(openvino, converted, prompts[0]).finish_reason == "length"
