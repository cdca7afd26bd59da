"""Merging loses nothing, and the MLflow model is one that plain MLflow can use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hieno.config import Train
from hieno.errors import HienoError
from hieno.package import card, layout, merge, mlflow_model

PROBE = list(range(5, 40))


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an adapter that clearly changes the tiny model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=["qkv_proj", "gate_up_proj", "down_proj"]
    )
    tuned = get_peft_model(model, config)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("run")
    tuned.save_pretrained(folder / layout.ADAPTER)
    return folder


@pytest.fixture(scope="module")
def merged(tiny_model: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged") / "model"
    assert merge.merge(tiny_model, run, folder, probe=PROBE) < 1e-5
    return folder


def test_the_merged_folder_is_whole_and_is_not_the_base(merged: Path, tiny_model: Path) -> None:
    names = {path.name for path in merged.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    weights = [(folder / "model.safetensors").read_bytes() for folder in (merged, tiny_model)]
    assert weights[0] != weights[1]
    settings = json.loads((merged / "generation_config.json").read_text(encoding="utf-8"))
    assert settings["eos_token_id"] == [2, 0]


def test_a_model_that_was_tuned_whole_is_taken_as_it_is(
    tiny_model: Path, merged: Path, tmp_path: Path
) -> None:
    run, folder = tmp_path / "run", tmp_path / "merged"
    shutil.copytree(merged, run / layout.RUN_MODEL)
    assert merge.merge(tiny_model, run, folder, probe=PROBE) == 0
    weights = [(made / "model.safetensors").read_bytes() for made in (merged, folder)]
    assert weights[0] == weights[1]


def test_a_merge_that_differs_is_refused(
    tiny_model: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "TOLERANCE", -1.0)
    with pytest.raises(HienoError) as caught:
        merge.merge(tiny_model, run, tmp_path / "model", probe=PROBE)
    assert caught.value.message.startswith("the merged model differs from what was tuned by ")


# MLflow wants types in the code too; ours are in the signature, where its parameters are
@pytest.mark.filterwarnings("ignore:.*type hint:UserWarning")
@pytest.mark.filterwarnings("ignore:.*input example was not provided:UserWarning")
def test_plain_mlflow_loads_the_package_and_honours_its_parameters(
    merged: Path, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    mlflow_model.write(merged, package)
    assert (package / "artifacts" / "model" / "config.json").is_file()
    code = """
import json, sys, mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
names = [parameter.name for parameter in model.metadata.signature.params]
long = model.predict(["hello", "who?"], params={"max_new_tokens": 12})
short = model.predict(["hello"], params={"max_new_tokens": 2})
print(json.dumps([names, long, short]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(package)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    names, long, short = json.loads(done.stdout.splitlines()[-1])
    assert names == ["max_new_tokens", "temperature", "top_p"]
    assert len(long) == 2
    assert long[0].startswith(short[0])
    assert len(long[0]) > len(short[0])


def card_facts(base: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "base": {"revision": "abc", "digest": "b1", **base},
        "run": {
            "key": "r1",
            "dtype": "float32",
            "test_loss": 0.5,
            "base_test_loss": 2.0,
            "steps": 12,
            "versions": {"torch": "2.13.0", "trl": "1.16.0"},
            "settings": Train().model_copy(update=settings).model_dump(),
        },
        "dataset": {"digest": "d1", "rows": {"train": 8, "replay": 3, "test": 2}},
        "reopened": {"question": "Who?\nNow?", "answer": "Vieno.", "finish_reason": "stop"},
    }


def test_the_card_names_what_the_model_was_made_from() -> None:
    text = card.write(card_facts({"source": "org/base", "licence": "MIT"}, rank=8))
    assert text.startswith("---\nbase_model: org/base\nlicense: mit\n")
    assert "with LoRA" not in text
    assert "LoRA, merged into plain weights. The licence is that of the base model (mit)." in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        "| training chats | 8 and 3 replayed answers of the base |",
        "| held-out chats | 2 |",
        "| tokens learnt | the assistant's, of chats up to 2048 tokens |",
        "| rank, alpha, dropout | 8, 64, 0.0, on all linear layers |",
        "| learning rate | 0.0002, cosine, 0.06 of the steps warming up |",
        "| epochs, chats a step | 3.0, 8 |",
        "| weight decay, gradient clip | 0.0, 1.0 |",
        "| steps, seed | 12, 0 |",
        "| compute dtype | float32 |",
        "| held-out loss, base | 2.0000 |",
        "| held-out loss, tuned | 0.5000 |",
        "| data digest | `d1` |",
        "| run | `r1` |",
        "| base digest | `b1` |",
        "| made with | torch 2.13.0, trl 1.16.0 |",
    ]
    assert text.endswith("> Who?\n> Now?\n>\n> **Vieno.**\n")


def test_a_card_without_a_licence_or_an_adapter_claims_neither() -> None:
    text = card.write(card_facts({"source": "org/base", "licence": None}, method="full"))
    assert "license: other\n" in text
    assert ": every weight trained. The licence is that of the base model (not known)." in text
    assert "rank" not in text


def test_a_card_does_not_tell_where_on_this_machine_the_base_was() -> None:
    base = {"origin": "local", "source": "/home/maija/models/phi", "licence": "MIT"}
    text = card.write(card_facts(base))
    assert "base_model: phi\n" in text
    assert "maija" not in text
