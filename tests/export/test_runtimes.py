"""Exports as their own runtimes open them: llama.cpp and ONNX Runtime GenAI.

What a model of full size makes of it is not proved here: the models have two layers, or are the
demo model, which the slow tests take from the user's cache.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from exporting import content, make_phi, make_project
from gguf import GGUFReader

from hieno import environments, models
from hieno.errors import HienoError
from hieno.export import gguf, modelfile, order, stage
from hieno.files import read_manifest
from hieno.project import Project
from hieno.registry import versions
from told import Told


def export(project: Project, to: str, weights: str) -> tuple[Path, dict[str, object]]:
    """Run the stage in this process; return the folder and its facts."""
    found = versions.find(project.registry, "1")
    made = order._plan(project, found, to, weights, project.root / "out")
    stage.run(made, Told())
    manifest = read_manifest(Path(made.output))
    assert manifest is not None
    return Path(made.output), dict(manifest.facts)


def needs(name: str) -> None:
    """Make a side environment, or skip where its packages cannot be fetched."""
    try:
        environments.ensure(name, say=print)
    except HienoError as error:
        pytest.skip(error.message)


@pytest.fixture
def demo(tmp_path: Path) -> Project:
    """A project whose version 1 is the demo model, untuned."""
    root = models.find("demo")
    if root is None:
        pytest.skip("the demo model is not in the cache (`hieno models pull demo`)")
    return make_project(tmp_path / "project", root / "artifacts" / "model")


def test_a_phi3_becomes_a_gguf_file_that_llama_cpp_reads_alike(
    phi_model: Path, tmp_path: Path
) -> None:
    needs("gguf")
    project = make_project(tmp_path / "project", phi_model)
    folder, facts = export(project, "gguf", "fp32")
    assert {path.name for path in folder.iterdir()} == {
        *("books-1.gguf", "Modelfile", "README.md", "manifest.json")
    }
    assert facts["prompts"] == 3
    assert facts["agreement"]["regret"] < 0.01  # type: ignore[index]
    template = gguf.template_of(folder)
    assert template == (phi_model / "chat_template.jinja").read_text(encoding="utf-8")
    text = (folder / modelfile.NAME).read_text(encoding="utf-8")
    assert modelfile.stops(text) == ["<|end|>", "<|endoftext|>"]
    assert "FROM ./books-1.gguf\n" in text


def test_a_tokenizer_that_cuts_as_gpt2_does_becomes_one_that_llama_cpp_reads_alike(
    project: Project,
) -> None:
    needs("gguf")
    folder, facts = export(project, "gguf", "fp32")
    assert (facts["stops"], facts["prompts"]) == ([2, 0], 3)
    found = GGUFReader(folder / "books-1.gguf").get_field("tokenizer.ggml.eos_token_id")
    assert found is not None
    assert found.contents() == 2


def test_a_tokenizer_that_the_converter_does_not_know_is_refused(tmp_path: Path) -> None:
    needs("gguf")
    project = make_project(tmp_path / "project", make_phi(tmp_path / "phi4", "phi4_mini"))
    with pytest.raises(HienoError) as caught:
        export(project, "gguf", "fp32")
    assert caught.value.message.startswith("the conversion to GGUF failed: ")
    assert "BPE pre-tokenizer was not recognized" in caught.value.message
    assert not (project.root / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["fp16", "fp32", "bf16", "int8"])
def test_the_demo_model_as_gguf_with_all_weights(demo: Project, weights: str) -> None:
    needs("gguf")
    _, facts = export(demo, "gguf", weights)
    assert facts["stops"] == [2]
    assert facts["agreement"]["regret"] < 0.3  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["fp32", "int8", "int4"])
def test_the_demo_model_for_onnx_runtime_with_all_weights(demo: Project, weights: str) -> None:
    needs("onnx")
    folder, facts = export(demo, "onnx", weights)
    assert content(folder, "genai_config.json")["model"]["eos_token_id"] == [2]
    assert facts["agreement"]["regret"] < 0.5  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.parametrize(("to", "family"), [("gguf", "phi3_5"), ("onnx", "phi4_mini")])
def test_a_phi_with_longrope_answers_alike_below_its_first_length(
    to: str, family: str, tmp_path: Path
) -> None:
    needs(to)
    model = make_phi(tmp_path / family, family, long=True)
    _, facts = export(make_project(tmp_path / "project", model), to, "fp32")
    assert facts["agreement"]["regret"] < 0.01  # type: ignore[index]


@pytest.mark.slow
def test_a_tokenizer_that_onnx_runtime_reads_otherwise_is_refused(
    phi_model: Path, tmp_path: Path
) -> None:
    needs("onnx")
    project = make_project(tmp_path / "project", phi_model)
    with pytest.raises(HienoError) as caught:
        export(project, "onnx", "fp32")
    assert caught.value.message.startswith(
        "the ONNX Runtime GenAI folder reads a chat as other tokens than the model was trained on"
    )
    assert not (project.root / "out").exists()
