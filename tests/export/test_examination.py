"""What is refused of an export that was opened again, on a real model's own tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from exporting import QUESTION

from hieno.errors import HienoError
from hieno.export import examination, hf
from hieno.export.hearing import CHATS, Heard, Request
from hieno.templates import load_tokenizer, render_prompt

ASKED = ([{"role": "user", "content": QUESTION}], *CHATS)


@pytest.fixture(scope="module")
def request_(tiny_model: Path) -> Request:
    tokenizer = load_tokenizer(tiny_model)
    return Request(ASKED, tuple(render_prompt(tokenizer, chat) for chat in ASKED), (2, 0))


@pytest.fixture(scope="module")
def heard(tiny_model: Path, request_: Request) -> Heard:
    """What the tiny model says when plain transformers opens it."""
    return hf.hear(tiny_model, request_, work=tiny_model, say=print)


def test_the_model_itself_agrees_with_itself(
    tiny_model: Path, request_: Request, heard: Heard
) -> None:
    examination.check_prompts(request_, heard, title="folder")
    examination.check_stops(hf.declared(tiny_model, tiny_model), request_, heard, title="folder")
    found = examination.compare(tiny_model, request_, heard, title="folder")
    assert (found.tokens, found.same, found.regret) == (32, 32, 0.0)
    assert heard.stopped == {2: True, 0: True}


def test_an_answer_that_is_noise_is_refused_with_the_reason(
    tiny_model: Path, request_: Request, heard: Heard
) -> None:
    noise = replace(heard, answer=list(range(100, 132)), text="ab cd")
    with pytest.raises(HienoError) as caught:
        examination.compare(tiny_model, request_, noise, title="GGUF file")
    assert caught.value.message.startswith(
        "the GGUF file answers 'ab cd', which the package would not say: only 0 of 32 tokens are"
        " its own choice (mean regret "
    )


def test_one_token_said_over_and_over_is_refused(
    tiny_model: Path, request_: Request, heard: Heard
) -> None:
    stuck = replace(heard, answer=[107] * 32)
    with pytest.raises(HienoError, match="would not say"):
        examination.compare(tiny_model, request_, stuck, title="GGUF file")


def test_weights_that_are_not_numbers_are_refused(
    tiny_model: Path, request_: Request, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = examination.Agreement(32, 0, float("nan"))
    monkeypatch.setattr(examination, "_weigh", lambda *given: broken)
    with pytest.raises(HienoError, match="mean regret nan nats"):
        examination.compare(tiny_model, request_, heard, title="GGUF file")


def test_no_answer_at_all_is_refused(tiny_model: Path, request_: Request, heard: Heard) -> None:
    silent = replace(heard, answer=[])
    with pytest.raises(HienoError) as caught:
        examination.compare(tiny_model, request_, silent, title="GGUF file")
    assert caught.value.message == "the GGUF file was opened again and gave no answer"


def test_a_chat_that_is_read_as_other_tokens_is_refused(request_: Request, heard: Heard) -> None:
    first, *rest = heard.prompts
    doubled = replace(heard, prompts=[[first[0], *first], *rest])
    with pytest.raises(HienoError) as caught:
        examination.check_prompts(request_, doubled, title="GGUF file")
    assert "reads a chat as other tokens than the model was trained on (token 1 is 1 instead" in (
        caught.value.message
    )
    short = replace(heard, prompts=[first[:-1], *rest])
    with pytest.raises(HienoError, match=f"token {len(first) - 1} is no token instead of"):
        examination.check_prompts(request_, short, title="GGUF file")


def test_a_stop_token_that_the_settings_do_not_name_is_refused(
    request_: Request, heard: Heard
) -> None:
    with pytest.raises(HienoError) as caught:
        examination.check_stops({"settings": frozenset({2})}, request_, heard, title="folder")
    assert caught.value.message == (
        "the stop token 0 of generation_config.json is not in settings, so answers of the folder"
        " would run on"
    )


def test_a_stop_token_that_the_runtime_ignores_is_refused(request_: Request, heard: Heard) -> None:
    deaf = replace(heard, stopped={2: True, 0: False}, runtime="llama.cpp")
    with pytest.raises(HienoError) as caught:
        examination.check_stops({}, request_, deaf, title="GGUF file")
    assert caught.value.message == (
        "llama.cpp goes on after the stop token 0, so answers of the GGUF file would run on"
    )
