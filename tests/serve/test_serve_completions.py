from __future__ import annotations

from typing import Any

import pytest
from serving import Client, error_of, events

from hieno.templates import render_prompt

TEXT = "The ferry leaves"


def text_of(client: Client, prompt: object = TEXT, **fields: Any) -> str:
    fields = {"max_tokens": 12, "ignore_eos": True, **fields}
    return str(client.go_on(prompt, **fields).json()["choices"][0]["text"])


def test_an_answer_has_every_field_of_the_contract(client: Client) -> None:
    response = client.go_on(ignore_eos=True)
    assert response.status_code == 200
    body = response.json()
    ids = client.service.model.tokenizer.encode(TEXT, add_special_tokens=False)
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert body["model"] == "tiny"
    assert body["system_fingerprint"] == "hieno_transformers"
    assert body["usage"] == {
        "prompt_tokens": len(ids),
        "completion_tokens": 16,
        "total_tokens": len(ids) + 16,
    }
    (choice,) = body["choices"]
    assert set(choice) == {"text", "index", "logprobs", "finish_reason"}
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "length")


def test_a_text_and_its_tokens_get_the_same_answer(client: Client) -> None:
    ids = client.service.model.tokenizer.encode(TEXT, add_special_tokens=False)
    assert text_of(client) == text_of(client, ids) == text_of(client, [TEXT])
    assert text_of(client) != text_of(client, "Who?")


def test_only_a_token_list_holds_control_tokens(client: Client) -> None:
    tokenizer = client.service.model.tokenizer
    written = "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
    usage = client.go_on(written, max_tokens=1).json()["usage"]
    rendered = tokenizer.encode(written, add_special_tokens=False)
    assert usage["prompt_tokens"] > len(rendered)
    # With its tokens, this route says what a chat says.
    prompt = render_prompt(tokenizer, [{"role": "user", "content": "Who?"}])
    chat = client.chat("Who?", max_tokens=12, ignore_eos=True).json()
    assert text_of(client, prompt) == chat["choices"][0]["message"]["content"]


def test_a_whole_number_may_be_written_with_a_point(client: Client) -> None:
    assert text_of(client, [5.0, 6], max_tokens=3.0) == text_of(client, [5, 6], max_tokens=3)


def test_several_prompts_are_answered_in_order(client: Client) -> None:
    prompts = ["Who?", TEXT, "What"]
    body = client.go_on(prompts, max_tokens=12, ignore_eos=True).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert [choice["text"] for choice in body["choices"]] == [text_of(client, p) for p in prompts]
    assert body["usage"]["completion_tokens"] == 36
    assert client.service.slots.taken == 0


def test_more_prompts_than_free_slots_are_refused_at_once(client: Client) -> None:
    with client.service.slots.take(3):
        assert client.go_on(["a", "b"]).status_code == 429
        assert client.go_on(["a"]).status_code == 200


def test_a_stream_says_what_the_whole_answer_says(client: Client) -> None:
    whole = client.go_on(max_tokens=12, ignore_eos=True).json()
    *chunks, usage, done = events(
        client.go_on(
            max_tokens=12, ignore_eos=True, stream=True, stream_options={"include_usage": True}
        )
    )
    assert done == "[DONE]"
    assert (usage["choices"], usage["usage"]) == ([], whole["usage"])
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert all(chunk["usage"] is None for chunk in chunks)
    text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert text == whole["choices"][0]["text"]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["length"]
    assert client.service.slots.taken == 0


def test_stop_and_seed_are_honoured(client: Client) -> None:
    text = text_of(client)
    stop = text[4:7]
    stopped = client.go_on(max_tokens=12, ignore_eos=True, stop=stop).json()["choices"][0]
    assert stopped["text"] == text[: text.index(stop)]
    assert stopped["finish_reason"] == "stop"
    assert text_of(client, temperature=2, seed=3) == text_of(client, temperature=2, seed=3)
    assert len({text_of(client, temperature=2, seed=seed) for seed in range(5)}) > 1


LISTS = "must be a text or a list of token ids, or a list of these; none is empty."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": ""}, f"'prompt' {LISTS}"),
        ({"prompt": []}, f"'prompt' {LISTS}"),
        ({"prompt": [[]]}, f"'prompt' {LISTS}"),
        ({"prompt": [1, "a"]}, f"'prompt' {LISTS}"),
        ({"prompt": [True]}, f"'prompt' {LISTS}"),
        ({"prompt": [1.5]}, f"'prompt' {LISTS}"),
        ({"prompt": {"a": 1}}, f"'prompt' {LISTS}"),
        ({"prompt": None}, f"'prompt' {LISTS}"),
        ({"prompt": [445]}, "'prompt' has a token id that is not from 0 to 444."),
        ({"prompt": [-1]}, "'prompt' has a token id that is not from 0 to 444."),
        ({"prompt": ["a"] * 5}, "'prompt' has 5 prompts; at most 4 are answered."),
        (
            {"prompt": ["a", "b"], "stream": True},
            "'prompt' has 2 prompts; a stream answers exactly one.",
        ),
        (
            {"prompt": [5] * 2048},
            "The prompt has 2048 tokens; the model's context is 2048.",
        ),
        (
            {"prompt": [5] * 2040, "max_tokens": 9},
            "The prompt has 2040 tokens and 'max_tokens' asks for 9; the model's context is 2048.",
        ),
        ({"echo": True}, "Unsupported value: 'echo' may only be false with this model."),
        ({"best_of": 2}, "Unsupported value: 'best_of' may only be 1 with this model."),
        ({"logprobs": 0}, "Unsupported parameter: 'logprobs' is not supported with this model."),
        ({"suffix": "b"}, "Unsupported value: 'suffix' may only be \"\" with this model."),
        ({"max_tokens": 0}, "'max_tokens': input should be greater than or equal to 1."),
        ({"max_completion_tokens": 5}, "Unknown parameter: 'max_completion_tokens'."),
        ({"messages": []}, "Unknown parameter: 'messages'."),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: Client, fields: dict[str, Any], message: str
) -> None:
    response = client.post("/v1/completions", {"model": "tiny", "prompt": "a", **fields})
    assert response.status_code == 400
    error = error_of(response)
    assert error["message"] == message
    assert error["param"] in message
    assert client.service.slots.taken == 0


def test_an_unknown_model_and_a_missing_prompt_are_named(client: Client) -> None:
    unknown = client.go_on(model="other")
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "model_not_found")
    missing = client.post("/v1/completions", {"model": "tiny"})
    assert error_of(missing)["message"] == "'prompt' is required."
