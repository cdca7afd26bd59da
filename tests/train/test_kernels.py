"""Fast kernels are used where they prove equal to the plain model, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import SETTINGS
from torch.nn.functional import scaled_dot_product_attention
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from hieno.config import Train
from hieno.errors import ConfigError, HienoError
from hieno.train import attention, kernels
from hieno.train.kernels import Kernels
from hieno.train.model import load
from hieno.train.packing import IGNORED, Row, pack, passes

SMALL = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}


def chat(first: int, length: int) -> Row:
    ids = [(first + 7 * i) % 120 + 3 for i in range(length)]
    return {"input_ids": ids, "labels": [IGNORED] * (length // 2) + ids[length // 2 :]}


CHATS = [chat(5, 20), chat(50, 31), chat(90, 12), chat(33, 25)]


def random_model(kind: str, **more: Any) -> Any:
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**SMALL, initializer_range=0.3, **more)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(
    ("kind", "more", "loss"),
    [
        ("phi3", {}, "chunked"),
        ("llama", {}, "chunked"),
        ("qwen3", {}, "chunked"),
        ("smollm3", {}, "chunked"),
        ("granite", {"logits_scaling": 4.0}, "chunked"),
        ("gemma2", {"final_logit_softcapping": 1.0}, "stock"),
    ],
)
def test_the_loss_is_ours_where_the_head_is_a_product_and_stock_elsewhere(
    kind: str, more: dict[str, Any], loss: str
) -> None:
    model = random_model(kind, **more)
    chosen = kernels.proven(model, CHATS, kernels.wanted(Train()), dtype="float32")
    assert chosen.loss == loss


def test_a_chat_whose_reply_comes_late_is_still_held_against_the_plain_model() -> None:
    model = random_model("gemma2", final_logit_softcapping=1.0)
    late = [{**one, "labels": [IGNORED] * len(one["labels"])} for one in CHATS]
    assert kernels.proven(model, late, kernels.wanted(Train()), dtype="float32").loss == "stock"


def leaky(module: Any, query: Any, key: Any, value: Any, mask: Any, **_: Any) -> Any:
    """Attend to everything before, whichever chat it belongs to."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    seen = scaled_dot_product_attention(query, key, value, is_causal=True)
    return seen.transpose(1, 2).contiguous(), None


def test_an_attention_in_which_chats_see_each_other_is_never_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register("leaky", leaky)
    model = random_model("phi3")
    chosen = kernels.proven(model, CHATS, Kernels("leaky", "chunked"), dtype="float32")
    assert chosen == Kernels("sdpa")
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", leaky)
    with pytest.raises(HienoError) as caught:
        kernels.proven(model, CHATS, Kernels("leaky", "chunked"), dtype="float32")
    assert caught.value.message.startswith("packed chats would see each other in this model: ")


@pytest.mark.parametrize("name", ["by_document", "sdpa", "eager"])
@pytest.mark.parametrize("loss", ["chunked", "stock"])
def test_every_kernel_gives_the_loss_and_the_gradients_of_chats_alone(name: str, loss: str) -> None:
    attention.register()
    model = random_model("phi3")
    chosen = Kernels(name, loss)
    count = float(sum(label != IGNORED for one in CHATS for label in one["labels"]))
    grads = []
    for groups in ([CHATS], [[one] for one in CHATS]):
        model.zero_grad()
        model.set_attn_implementation(name if len(groups) == 1 else "eager")
        kind = chosen if len(groups) == 1 else Kernels("eager", "stock")
        total = 0.0
        for group in groups:
            row = pack(group, share_prefix=kind.shares_prefix)
            part = kernels.row_loss(model, row, count, kind.loss)
            part.backward()  # type: ignore[no-untyped-call]
            total += float(part.detach())
        grads.append((total, {n: p.grad.clone() for n, p in model.named_parameters()}))
    (packed, found), (alone, expected) = grads
    assert packed == pytest.approx(alone, rel=1e-5)
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, atol=1e-5, rtol=1e-3)


def test_a_pass_holds_no_more_tokens_than_it_may_and_none_is_lost() -> None:
    divided = passes(CHATS, most=40)
    assert [[len(one["input_ids"]) for one in some] for some in divided] == [[31], [25, 12], [20]]
    assert passes(CHATS, most=88) == [sorted(CHATS, key=lambda one: -len(one["input_ids"]))]
    assert [len(some) for some in passes(CHATS, most=1)] == [1] * 4


def test_qlora_without_a_gpu_is_refused_with_what_works_here(tiny_model: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ConfigError) as caught:
        load(tiny_model, SETTINGS.model_copy(update={"method": "qlora"}), dtype="float32")
    assert caught.value.message == "train.method: qlora needs a CUDA GPU, and torch finds none"


@pytest.mark.parametrize("variant", ["rslora", "dora"])
def test_a_variant_of_lora_is_what_peft_makes_of_it(tiny_model: Path, variant: str) -> None:
    settings = SETTINGS.model_copy(update={"variant": variant})
    config = load(tiny_model, settings, dtype="float32").peft_config["default"]
    assert (config.use_rslora, config.use_dora) == (variant == "rslora", variant == "dora")
