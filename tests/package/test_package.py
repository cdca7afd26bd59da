"""Merging loses nothing, and the MLflow model is one that plain MLflow can use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def test_the_card_names_what_the_model_was_made_from() -> None:
    facts: dict[str, Any] = {
        "name": "tiny",
        "base": {"source": "org/base", "revision": "abc", "licence": "MIT", "digest": "b1"},
        "run": {
            "key": "r1",
            "dtype": "float32",
            "test_loss": 0.5,
            "base_test_loss": 2.0,
            "settings": {
                name: 1
                for name in [
                    "rank",
                    "alpha",
                    "dropout",
                    "learning_rate",
                    "scheduler",
                    "epochs",
                    "batch_size",
                    "seed",
                ]
            },
        },
        "dataset": {"digest": "d1", "rows": {"train": 8, "replay": 0, "test": 2}},
        "reopened": {"question": "Who?", "answer": "Vieno."},
    }
    text = card.write(facts)
    assert text.startswith("---\nbase_model: org/base\nlicense: mit\n")
    assert "| held-out loss, base | 2.0000 |" in text
    assert "| data digest | `d1` |" in text
    assert "> **Vieno.**" in text
