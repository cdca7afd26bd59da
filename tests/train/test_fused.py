"""Fused layers do what stock layers do, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_kernels import CHATS, random_model

from hieno.train import attention, fused, kernels
from hieno.train.kernels import Kernels
from hieno.train.packing import pack


def adapted(kind: str, **settings: Any) -> Any:
    """Return a random model with an adapter that changes it."""
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", **settings)
    model = get_peft_model(random_model(kind), config)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def loss_and_gradients(model: Any, *, layers: str, autocast: bool = False) -> Any:
    kernels.use(model, Kernels(attention.register(), "chunked", layers))
    model.zero_grad()
    row = pack(CHATS, share_prefix=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = kernels.row_loss(model, row, 40.0, "chunked")
    loss.backward()  # type: ignore[no-untyped-call]
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), found


@pytest.mark.parametrize("kind", ["phi3", "llama", "qwen3", "granite"])
@pytest.mark.parametrize("tuned", ["whole", "adapter"])
def test_loss_and_gradients_are_those_of_stock_layers(kind: str, tuned: str) -> None:
    model = random_model(kind) if tuned == "whole" else adapted(kind)
    expected, wanted = loss_and_gradients(model, layers="stock")
    loss, found = loss_and_gradients(model, layers="fused")
    torch.testing.assert_close(loss, expected)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3)


def test_in_bfloat16_they_round_no_more_than_stock_layers() -> None:
    model = adapted("phi3")
    _, exact = loss_and_gradients(model, layers="stock")
    errors = {}
    for layers in ("stock", "fused"):
        _, found = loss_and_gradients(model, layers=layers, autocast=True)
        errors[layers] = sum(float((found[n] - exact[n]).square().sum()) for n in exact) ** 0.5
    assert 0 < errors["fused"] < 1.2 * errors["stock"]


def test_what_is_not_built_as_expected_is_left_alone() -> None:
    assert fused.fuse(adapted("phi3")) == 2 * (2 + 1 + 4) + 1
    assert fused.fuse(adapted("phi3", lora_dropout=0.1)) == 2 * (2 + 1) + 1
    assert fused.fuse(adapted("phi3", use_dora=True)) == 2 * (2 + 1) + 1
    assert fused.fuse(random_model("gemma2")) == 0


def test_an_adapter_that_is_switched_off_is_off_in_fused_layers() -> None:
    model = adapted("phi3")
    ids = torch.tensor([CHATS[0]["input_ids"]])
    with torch.no_grad(), model.disable_adapter():
        expected = model(ids, use_cache=False).logits
        assert fused.fuse(model)
        torch.testing.assert_close(model(ids, use_cache=False).logits, expected)
    with torch.no_grad():
        assert not torch.allclose(model(ids, use_cache=False).logits, expected)
    fused.unfuse(model)
    assert all("forward" not in vars(module) for module in model.modules())
