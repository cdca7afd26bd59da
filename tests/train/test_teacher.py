"""Replayed answers hold the base's whole distribution in place, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from planning import Silent
from test_loop import ROWS, SETTINGS
from torch.nn.functional import cross_entropy, kl_div

from hieno.train import kernels
from hieno.train.loop import fine_tune
from hieno.train.loss import supervised_loss
from hieno.train.model import causal, last_hidden, load
from hieno.train.packing import IGNORED, NOBODY, pack
from hieno.train.readings import Readings
from hieno.train.teacher import with_teacher
from hieno.train.trainer import trainer_of

REPLAYED = [
    {
        "input_ids": [*range(10, 30), 70 + i, 71 + i, 72 + i, 2],
        "labels": [*[IGNORED] * 21, 71 + i, 72 + i, 2],
    }
    for i in range(5)
]


@pytest.mark.parametrize("share", [True, False])
def test_an_untouched_model_has_nothing_to_learn_from_itself(tiny_model: Path, share: bool) -> None:
    chosen = kernels.wanted(SETTINGS)
    model = load(tiny_model, SETTINGS, dtype="float32", attention=chosen.attention)
    rows, table = with_teacher(model, ROWS[:3], REPLAYED, dtype="float32", most=64)
    assert table.shape == (3 * len(REPLAYED) + 1, 64)
    assert not table[-1].any()
    assert all(set(row["teacher"]) == {NOBODY} for row in rows[:3])
    batch = pack(rows[3:], share_prefix=share)
    labels, pointers = batch.pop("labels"), batch.pop("teacher")
    with torch.no_grad():
        hidden = last_hidden(model, batch)
    hidden.requires_grad_()
    head = causal(model).get_output_embeddings().weight
    loss = supervised_loss(hidden, head, labels, 15.0, table[pointers])
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert hidden.grad is not None
    assert float(hidden.grad.abs().max()) < 1e-5


def test_the_loss_is_divergence_where_there_is_a_teacher_and_cross_entropy_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hieno.train.loss.CHUNK", 4)
    torch.manual_seed(0)
    hidden, head = torch.randn(1, 24, 8, requires_grad=True), torch.randn(30, 8)
    head.requires_grad_()
    labels = torch.randint(0, 30, (1, 24))
    labels[0, :3] = IGNORED
    teacher = torch.randn(1, 24, 8)
    teacher[0, ::2] = 0
    loss = supervised_loss(hidden, head, labels, 7.0, teacher, 3.0)
    ours = torch.autograd.grad(loss, (hidden, head))

    scores = hidden[0, :-1] @ head.t()
    expected = torch.zeros(())
    for position in range(3, 24):
        predicted = scores[position - 1]
        if teacher[0, position].any():
            wanted = (teacher[0, position] @ head.detach().t()).log_softmax(-1)
            expected = expected + 3 * kl_div(
                predicted.log_softmax(-1), wanted, log_target=True, reduction="sum"
            )
        else:
            expected = expected + cross_entropy(predicted, labels[0, position])
    torch.testing.assert_close(loss, expected / 7)
    for found, wanted in zip(ours, torch.autograd.grad(expected / 7, (hidden, head)), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


def drift(model: Path, folder: Path, **replay: Any) -> float:
    """Fine-tune, and return how far the replayed answers are from the base's distribution."""
    settings = SETTINGS.model_copy(update=replay)
    work = folder / "work"
    work.mkdir(parents=True)
    fine_tune(
        model,
        ROWS,
        [],
        settings,
        replayed=REPLAYED,
        dtype="float32",
        work=work,
        weights=folder / "adapter",
        reporter=Silent(),
    )
    chosen = kernels.wanted(settings)
    tuned = load(model, settings, dtype="float32", attention=chosen.attention)
    rows, table = with_teacher(tuned, [], REPLAYED, dtype="float32", most=4096)
    tuned.load_adapter(folder / "adapter", "default")
    trainer: Any = trainer_of(
        tuned, rows, settings, chosen, dtype="float32", work=work, readings=Readings(table)
    )
    loss = trainer.mean_loss(rows)
    assert loss is not None
    return float(loss)


def test_the_distribution_keeps_a_model_closer_to_its_base_than_the_words_and_more_so_with_weight(
    tiny_model: Path, tmp_path: Path
) -> None:
    words = drift(tiny_model, tmp_path / "words", replay_loss="words")
    kept = drift(tiny_model, tmp_path / "kept", replay_loss="distribution")
    held = drift(tiny_model, tmp_path / "held", replay_loss="distribution", replay_weight=4.0)
    assert held < kept < words
