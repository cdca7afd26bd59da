"""Processes that share one model learn what one process learns, and save what it saves."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from forks import together
from planning import Silent, planned, rows
from safetensors.torch import load_file
from test_kernels import CHATS, random_model

from hieno.config import Config
from hieno.config.sections import Train
from hieno.errors import ConfigError, HienoError
from hieno.files import digest_file, read_manifest
from hieno.stages import StagePlan
from hieno.train import group, memory, sharding, stage
from hieno.train.kernels import Kernels
from hieno.train.packing import IGNORED
from hieno.train.trainer import step_of

FULL = {"method": "full", "learning_rate": 1e-3, "evaluate": "epoch", "epochs": 2}
FILES = {"full": "model/model.safetensors", "lora": "adapter/adapter_model.safetensors"}


def ended(plan: StagePlan) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    """Return a run's metrics and its weights."""
    method = plan.settings["train"]["method"]
    return rows(Path(plan.output)), load_file(Path(plan.output) / FILES[method])


def assert_alike(one: StagePlan, other: StagePlan) -> None:
    """Fail unless two runs had the same losses, and ended in the same weights, up to rounding."""
    (metrics, weights), (others, expected) = ended(one), ended(other)
    assert [row["step"] for row in metrics] == [row["step"] for row in others]
    for name in ("loss", "grad_norm", "test_loss"):
        found = [row[name] for row in metrics if name in row]
        assert found == pytest.approx([row[name] for row in others if name in row], rel=2e-3), name
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], atol=2e-3, rtol=0)


def test_a_shared_model_has_the_losses_and_the_weights_of_one_process_also_after_a_kill(
    tiny_model: Path, tmp_path: Path
) -> None:
    alone = planned(tiny_model, tmp_path / "alone", samples=1, **FULL)
    stage.run(alone, Silent())
    shared = planned(
        tiny_model, tmp_path / "shared", processes=2, sharding="full", samples=1, **FULL
    )
    killed, other = together(shared, tmp_path / "first", killed_at=9)
    assert killed == -signal.SIGKILL
    assert other != 0
    assert not Path(shared.output).exists()
    assert together(shared, tmp_path / "second") == [0, 0]
    assert_alike(shared, alone)
    manifest = read_manifest(Path(shared.output))
    assert manifest is not None
    assert manifest.facts["resumed_from"] in (8, 9)
    answers = [rows(Path(plan.output), "samples.jsonl") for plan in (shared, alone)]
    assert answers[0] == answers[1]


@pytest.mark.slow  # eight processes; one method and a kill are in the default suite
@pytest.mark.parametrize("method", ["lora", "full"])
def test_whatever_divides_a_step_a_shared_model_is_that_of_copies(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    settings: dict[str, Any] = {
        "processes": 2,
        "pass_tokens": 64,  # about one chat in a pass: not as many of them in both processes
        "checkpointing": True,
        "evaluate": "epoch",
        "patience": 5,
        "method": method,
        "learning_rate": 1e-3,
        "dtype": "bfloat16" if method == "lora" else "float32",  # then the base has another type
    }
    copied = planned(tiny_model, tmp_path / "copied", **settings)
    whole = planned(tiny_model, tmp_path / "whole", sharding="full", **settings)
    killed = planned(tiny_model, tmp_path / "killed", sharding="full", **settings)
    for plan in (copied, whole):
        assert together(plan, Path(plan.output).with_name("meeting")) == [0, 0]
    assert together(killed, tmp_path / "first", killed_at=7)[0] == -signal.SIGKILL
    assert together(killed, tmp_path / "second") == [0, 0]
    assert_alike(whole, copied)
    digests = [digest_file(Path(plan.output) / FILES[method]) for plan in (killed, whole)]
    assert digests[0] == digests[1]


def test_one_process_alone_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        stage.run(planned(tiny_model, tmp_path, sharding="full"), Silent())
    assert caught.value.message == (
        "train.sharding is full, and one process alone would keep the whole model"
    )
    assert caught.value.hint == "set train.processes to 2 or more, or train.sharding to none"


def test_a_base_of_four_bits_is_not_sharded() -> None:
    with pytest.raises(ValueError, match="sharding is for lora and full"):
        Config.model_validate({"train": {"sharding": "full", "method": "qlora"}})


@pytest.fixture
def a_group_of_one(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("a_group_of_one")
def test_a_share_that_is_the_whole_is_refused() -> None:
    with pytest.raises(HienoError) as caught:
        sharding.shard(random_model("phi3"))
    assert caught.value.message.endswith(
        "parameters were not sharded, model.embed_tokens.weight among them"
    )


def test_a_model_without_a_list_of_layers_is_refused() -> None:
    model = random_model("phi3")
    model.model.layers = torch.nn.Sequential(*model.model.layers)
    with pytest.raises(HienoError) as caught:
        sharding.shard(model)
    assert caught.value.message == "no list of 2 layers was found in Phi3ForCausalLM"
    assert caught.value.hint == sharding.OFF


def test_all_processes_make_as_many_passes_and_count_their_own_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group, "size", lambda: 2)
    steps = []
    for rank in (0, 1):
        monkeypatch.setattr(group, "rank", lambda rank=rank: rank)
        steps.append(step_of(CHATS[:3], kernels=Kernels("sdpa"), most=31, in_step=True))
    lengths = [[row["input_ids"].numel() for row in step["passes"]] for step in steps]
    assert lengths == [[31, 8], [20, 12]]
    assert set(steps[0]["passes"][1]["labels"].flatten().tolist()) == {IGNORED}
    assert [step["input_ids"].numel() for step in steps] == [31, 32]


def test_what_is_trained_is_reckoned_by_shares(tiny_model: Path) -> None:
    shape, settings = memory.shape_of(tiny_model), Train(method="full")
    fits = [
        memory.fit(shape, settings, dtype="float32", lengths=[64], free=1e12, shards=shards)
        for shards in (1, 4)
    ]
    assert fits[0].need.trained == 4 * fits[1].need.trained
    assert fits[0].need.weights == fits[1].need.weights
