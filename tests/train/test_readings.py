"""What is read of the base once changes no loss, no gradient and no resumed run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from planning import Silent
from test_loop import ROWS, SETTINGS, train, weights
from test_teacher import REPLAYED

from hieno.train import kernels, loop
from hieno.train.kernels import Kernels, row_loss
from hieno.train.model import causal, load
from hieno.train.packing import pack
from hieno.train.readings import Readings, can_begin_above, read_states

HALF = SETTINGS.model_copy(update={"frozen_layers": 1, "dropout": 0.0})


def loaded(folder: Path, kind: Kernels) -> Any:
    model = load(folder, HALF, dtype="float32", attention=kind.attention)
    kernels.use(model, kind)
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # an adapter that does something
            torch.nn.init.normal_(weight, std=0.1)
    return model


@pytest.mark.parametrize("loss", ["chunked", "stock"])
@pytest.mark.parametrize("attention", ["by_document", "sdpa", "eager"])
def test_what_begins_above_the_frozen_layers_has_the_losses_and_gradients_of_the_whole(
    tiny_model: Path, attention: str, loss: str
) -> None:
    kind = kernels.wanted(HALF.model_copy(update={"attention": attention, "loss": loss}))
    model = loaded(tiny_model, kind)
    rows = [*ROWS[:5], *REPLAYED]
    shares = kind.shares_prefix
    pointing, table = read_states(model, rows, 1, dtype="float32", most=64, share_prefix=shares)
    assert table.shape[1] == 64
    if shares:  # what chats begin with alike is read once in a pass
        assert len(table) < sum(len(row["input_ids"]) for row in rows)
    found = Readings(states=table, layers=1)
    assert kernels.agree(model, pointing, kind, found, dtype="float32")
    packed = pack(pointing[2:9], share_prefix=shares)
    results = []
    for readings in (None, found):
        model.zero_grad()
        made = row_loss(model, packed, 7.0, kind.loss, readings)
        made.backward()  # type: ignore[no-untyped-call]
        slopes = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((made.detach(), slopes))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)
    assert len(causal(model).get_decoder().layers) == 2


def test_a_run_that_keeps_states_is_the_run_that_computes_them(
    tiny_model: Path, tmp_path: Path
) -> None:
    kept = train(tiny_model, tmp_path / "kept", settings=HALF)
    computed = train(
        tiny_model, tmp_path / "computed", settings=HALF.model_copy(update={"keep_states": False})
    )
    assert kept.test_loss == pytest.approx(computed.test_loss, abs=1e-4)
    assert kept.base_test_loss == pytest.approx(computed.base_test_loss, abs=1e-5)


def test_what_is_kept_is_said(tiny_model: Path, tmp_path: Path) -> None:
    class Listening(Silent):
        said: list[str]

        def say(self, line: str) -> None:
            self.said.append(line)

    Listening.said = []
    train(tiny_model, tmp_path, Listening(), settings=HALF)
    assert any("1 frozen layers read once" in line for line in Listening.said)


def test_states_that_lead_elsewhere_are_not_used(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scaled(*of: Any, **by: Any) -> Any:
        rows, table = read_states(*of, **by)
        return rows, table * 2  # as a family does that scales what it is given

    expected = train(
        tiny_model, tmp_path / "computed", settings=HALF.model_copy(update={"keep_states": False})
    )
    monkeypatch.setattr(loop, "read_states", scaled)
    train(tiny_model, tmp_path / "kept", settings=HALF)
    assert expected.steps
    assert weights(tmp_path / "kept") == weights(tmp_path / "computed")


def test_nothing_is_kept_where_chance_or_an_adapter_has_a_part_below(tiny_model: Path) -> None:
    model = load(tiny_model, HALF, dtype="float32")
    assert can_begin_above(model, 1)
    assert not can_begin_above(model, 0)
    assert not can_begin_above(model, 2)
    causal(model).get_decoder().layers[0].resid_attn_dropout = torch.nn.Dropout(0.1)
    assert not can_begin_above(model, 1)
    assert not can_begin_above(torch.nn.Linear(2, 2), 1)


def test_a_killed_run_that_keeps_states_ends_in_the_same_weights(
    tiny_model: Path, tmp_path: Path
) -> None:
    train(tiny_model, tmp_path / "whole", settings=HALF)
    script = (
        "import sys; from pathlib import Path; from planning import EndedAt; "
        "from test_readings import HALF, train; "
        "train(Path(sys.argv[1]), Path(sys.argv[2]), EndedAt(9), settings=HALF)"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tiny_model), str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    assert killed.returncode == -9
    outcome = train(tiny_model, tmp_path / "killed", settings=HALF)
    assert outcome.resumed_from > 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
