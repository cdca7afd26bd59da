"""The loop on a real tiny model: it learns, it stops where it should, and it resumes exactly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from planning import EndedAt, Silent
from safetensors.torch import load_file

from hieno.config import Train
from hieno.errors import ConfigError, TryLater
from hieno.files import digest_file
from hieno.registry.tracking import METRICS
from hieno.train import checkpoints, kernels
from hieno.train.loop import fine_tune
from hieno.train.model import load, targets, tuned_layers

ROWS = [
    {
        "input_ids": [*range(10, 30), 40 + i, 50 + i % 7, 60 + i, 2],
        "labels": [*[-100] * 22, 60 + i, 2],
    }
    for i in range(24)
]
SETTINGS = Train(
    rank=4, alpha=8, learning_rate=2e-2, epochs=4, batch_size=6, dropout=0.1, save_minutes=1e-6
)


def train(
    model: Path,
    folder: Path,
    reporter: Any = None,
    settings: Train = SETTINGS,
    test: list[dict[str, list[int]]] = ROWS[:8],
) -> Any:
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    return fine_tune(
        model,
        ROWS,
        test,
        settings,
        dtype="float32",
        work=work,
        weights=folder / "adapter",
        reporter=reporter or Silent(),
    )


def weights(folder: Path) -> str:
    return digest_file(folder / "adapter" / "adapter_model.safetensors")


def test_fine_tuning_lowers_the_held_out_loss(tiny_model: Path, tmp_path: Path) -> None:
    outcome = train(tiny_model, tmp_path)
    assert outcome.steps == 16
    assert outcome.test_loss < outcome.base_test_loss / 2
    rows = [
        json.loads(line)
        for line in (tmp_path / "work" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [row["step"] for row in rows] == list(range(1, 17))
    assert {*METRICS} - {"test_loss"} <= rows[0].keys()  # what MLflow and the report show
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tiny_model: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        train(tiny_model, tmp_path / name)
    train(tiny_model, tmp_path / "other", settings=SETTINGS.model_copy(update={"seed": 1}))
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert weights(tmp_path / "one") != weights(tmp_path / "other")


def test_a_checkpoint_that_is_not_whole_is_never_loaded(tmp_path: Path) -> None:
    for step in (5, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        (folder / "rng_state.pth").write_bytes(b"pickle")
    checkpoints.complete(tmp_path, 5)
    assert checkpoints.latest(tmp_path) == tmp_path / "checkpoint-5"
    assert not (tmp_path / "checkpoint-10").exists()
    (tmp_path / "checkpoint-5" / "rng_state.pth").write_bytes(b"another pickle")
    assert checkpoints.latest(tmp_path) is None


def test_layers_to_adapt_are_those_the_model_has(tiny_model: Path) -> None:
    model = load(tiny_model, SETTINGS, dtype="float32").get_base_model()
    adapted = {name for name, _ in model.named_modules() if name.endswith("lora_A")}
    assert {name.split(".")[-2] for name in adapted} == {
        "down_proj",
        "gate_up_proj",
        "o_proj",
        "qkv_proj",
    }


def test_a_layer_that_the_model_lacks_is_refused(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    with pytest.raises(ConfigError) as caught:
        targets(model, ["q_proj", "o_proj", "v_proj"])
    assert caught.value.message == "train.targets: the model has no layer named q_proj, v_proj"
    assert caught.value.hint == "it has down_proj, gate_up_proj, o_proj, qkv_proj"


def test_frozen_layers_get_no_adapter(tiny_model: Path) -> None:
    model = load(tiny_model, Train(rank=2, frozen_layers=1), dtype="float32")
    tuned = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert tuned
    assert all(".layers.1." in name for name in tuned)


def test_as_many_frozen_layers_as_the_model_has_are_refused(tiny_model: Path) -> None:
    model = load(tiny_model, Train(rank=2), dtype="float32")
    with pytest.raises(ConfigError) as caught:
        tuned_layers(model, 2)
    assert caught.value.message == "train.frozen_layers is 2, and the model has 2 layers"
    assert caught.value.hint == "choose at most 1"


def test_held_out_losses_are_measured_each_epoch_and_training_stops_when_they_rise(
    tiny_model: Path, tmp_path: Path
) -> None:
    # what is learnt about these is wrong: the better it is learnt, the worse they get
    others = [{**row, "labels": [*[-100] * 22, 60 + (i * 5) % 24, 2]} for i, row in enumerate(ROWS)]
    patient = SETTINGS.model_copy(update={"evaluate": "epoch", "patience": 2, "epochs": 10})
    outcome = train(tiny_model, tmp_path / "one", settings=patient, test=others)
    metrics = (tmp_path / "one" / "work" / "metrics.jsonl").read_text(encoding="utf-8")
    losses = [json.loads(line)["test_loss"] for line in metrics.splitlines() if "test_loss" in line]
    best = losses.index(min(losses))
    assert len(losses) == best + 3 < 10
    assert outcome.steps == 4 * len(losses)
    assert outcome.test_loss == losses[best]
    kept = load(tiny_model, patient, dtype="float32", attention="eager")
    kept.load_adapter(tmp_path / "one" / "adapter", "default")
    assert kernels.one_by_one(kept, others) == pytest.approx(losses[best], rel=1e-4)


def test_a_terminated_run_saves_and_asks_to_be_tried_again(
    tiny_model: Path, tmp_path: Path
) -> None:
    rare = SETTINGS.model_copy(update={"save_minutes": 60})
    with pytest.raises(TryLater) as caught:
        train(tiny_model, tmp_path / "ended", EndedAt(5, signal.SIGTERM), settings=rare)
    assert caught.value.message == "training was asked to stop and saved step 6"
    assert train(tiny_model, tmp_path / "ended", settings=rare).resumed_from == 6
    train(tiny_model, tmp_path / "whole", settings=rare)
    assert weights(tmp_path / "ended") == weights(tmp_path / "whole")


def test_full_fine_tuning_learns_with_float32_weights_and_resumes(
    tiny_model: Path, tmp_path: Path
) -> None:
    full = SETTINGS.model_copy(update={"method": "full", "learning_rate": 3e-3})
    outcome = train(tiny_model, tmp_path / "whole", settings=full)
    assert outcome.test_loss < outcome.base_test_loss / 2
    saved = load_file(tmp_path / "whole" / "adapter" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    code = (
        "import sys; from pathlib import Path\n"
        "import test_loop as t; from planning import EndedAt\n"
        "full = t.SETTINGS.model_copy(update={'method': 'full', 'learning_rate': 3e-3})\n"
        "t.train(Path(sys.argv[1]), Path(sys.argv[2]), EndedAt(7), full)"
    )
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", code, str(tiny_model), str(killed)]
    subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, check=False)
    assert train(tiny_model, killed, settings=full).resumed_from in (6, 7)
    ends = [digest_file(f / "adapter" / "model.safetensors") for f in (killed, tmp_path / "whole")]
    assert ends[0] == ends[1]
