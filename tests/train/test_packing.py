"""Packed chats must not see each other, and sharing a beginning must change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from hieno.train import attention as attentions
from hieno.train import loss as losses
from hieno.train.packing import IGNORED, common_prefix, pack

SYSTEM = list(range(10, 30))


def chat(question: list[int], answer: list[int], beginning: list[int] = SYSTEM) -> dict[str, Any]:
    ids = [*beginning, *question, *answer]
    return {"input_ids": ids, "labels": [IGNORED] * (len(ids) - len(answer)) + answer}


CHATS = [
    chat([40, 41, 42], [50, 51, 2]),
    chat([43, 44], [52, 2]),
    chat([45, 46, 47, 48], [53, 54, 55, 2]),
]
STRANGER = chat([49, 48], [56, 57, 2], beginning=list(range(70, 82)))


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    attentions.register()
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def logits(model: Any, batch: dict[str, Any], attention: str) -> torch.Tensor:
    model.set_attn_implementation(attention)
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        return model(**inputs, use_cache=False).logits[0]  # type: ignore[no-any-return]


def test_a_shared_beginning_is_laid_down_once() -> None:
    row = pack(CHATS, share_prefix=True)
    own = sum(len(c["input_ids"]) - len(SYSTEM) for c in CHATS)
    assert row["sharing"] == len(CHATS)
    assert row["input_ids"].shape == (1, len(SYSTEM) + own)
    assert row["cu_seq_lens_q"].tolist() == [0, 20, 26, 30, 38]


def test_a_beginning_is_never_shared_into_what_is_learnt() -> None:
    same = [chat([40], [50, 51], beginning=list(range(10, 19))) for _ in range(2)]
    assert common_prefix(same) == 9


def test_few_common_tokens_are_not_worth_sharing() -> None:
    short = [chat([40, i], [50], beginning=[10, 11, 12]) for i in (60, 61)]
    assert common_prefix(short) == 0


def test_a_chat_that_begins_otherwise_stands_alone_behind_the_others() -> None:
    row = pack([CHATS[0], STRANGER, *CHATS[1:]], share_prefix=True)
    assert row["sharing"] == len(CHATS)
    assert row["cu_seq_lens_q"].tolist() == [0, 20, 26, 30, 38, 55]
    assert row["position_ids"][0, 38:].tolist() == list(range(17))


@pytest.mark.parametrize(
    ("attention", "share"),
    [("by_document", True), ("by_document", False), ("sdpa", False), ("eager", False)],
)
def test_a_packed_chat_gets_the_logits_of_the_chat_alone(
    model: Any, attention: str, share: bool
) -> None:
    row = pack([*CHATS, STRANGER], share_prefix=share)
    packed = logits(model, row, attention)
    ends = row["cu_seq_lens_q"].tolist()
    first = 1 if share else 0
    for index, one in enumerate([*CHATS, STRANGER]):
        alone = logits(model, {"input_ids": torch.tensor([one["input_ids"]])}, "eager")
        own = packed[ends[first + index] : ends[first + index + 1]]
        torch.testing.assert_close(own, alone[-len(own) :], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("long", [320, 7, 0], ids=["padded", "mixed", "one by one"])
@pytest.mark.parametrize("share", [True, False])
def test_loss_and_gradients_equal_those_of_chats_one_by_one(
    model: Any, share: bool, long: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attentions, "LONG", long)
    head = model.get_output_embeddings().weight
    chats = [CHATS[0], STRANGER, *CHATS[1:]]
    count = sum(label != IGNORED for one in chats for label in one["labels"])
    model.zero_grad()
    model.set_attn_implementation("eager")
    expected = torch.zeros(())
    for one in chats:
        ids, labels = torch.tensor([one["input_ids"]]), torch.tensor([one["labels"]])
        scores = model(input_ids=ids, use_cache=False).logits[0, :-1]
        expected = expected + torch.nn.functional.cross_entropy(
            scores, labels[0, 1:], ignore_index=IGNORED, reduction="sum"
        )
    (expected / count).backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}

    model.zero_grad()
    model.set_attn_implementation("by_document")
    row = pack(chats, share_prefix=share)
    labels = row.pop("labels")
    hidden = model.model(**row, use_cache=False).last_hidden_state
    loss = losses.supervised_loss(hidden, head, labels, float(count))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()) / count, rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], atol=1e-5, rtol=1e-3)


def test_the_loss_is_the_same_in_one_chunk_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(1, 40, 8), torch.randn(30, 8)
    labels = torch.randint(0, 30, (1, 40))
    whole = losses.supervised_loss(hidden, head, labels, 39.0)
    monkeypatch.setattr(losses, "CHUNK", 7)
    torch.testing.assert_close(losses.supervised_loss(hidden, head, labels, 39.0), whole)
    stock = torch.nn.functional.cross_entropy((hidden[0, :-1] @ head.t()), labels[0, 1:])
    torch.testing.assert_close(whole, stock)
