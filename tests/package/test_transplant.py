"""A tuned model takes the graph of its base, or is converted where that would not be the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hieno.config import Serve
from hieno.files import published, read_manifest
from hieno.package import convert as conversion
from hieno.package.convert import convert
from hieno.package.layout import ENGINES, MODEL
from hieno.package.transplant import NotPossible, transplant
from hieno.serve.batch import generate_all
from hieno.serve.engines import Sampling

pytest.importorskip("openvino_genai")
PROMPTS = [[5 + i, 17, 40, 9, 100] for i in range(3)]
GREEDY = Sampling(max_new_tokens=6, ignore_eos=True)


@pytest.fixture
def base(tiny_package: Path | None, tmp_path: Path) -> Path:
    """The tiny model as it stands in the cache, converted."""
    if tiny_package is None:
        pytest.skip("no converted tiny model")
    root = tmp_path / "base"
    with published(root, kind="model", key="tiny") as (folder, _):
        shutil.copytree(tiny_package / MODEL, folder / MODEL)
    model = read_manifest(root)
    assert model is not None
    with published(root / ENGINES / "openvino-fp32", kind="engine", key="fp32") as (folder, facts):
        shutil.copytree(
            tiny_package / ENGINES / "openvino-fp32",
            folder,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("manifest.json"),
        )
        facts["model"] = model.digest
    return root


@pytest.fixture
def tuned(base: Path, tmp_path: Path) -> Callable[..., Path]:
    def tune(*, of: Callable[[str], bool] = lambda name: "proj" in name) -> Path:
        """Return the root of a package whose weights of some names are other ones."""
        root = tmp_path / "tuned"
        shutil.copytree(base / MODEL, root / MODEL)
        file = root / MODEL / "model.safetensors"
        torch.manual_seed(1)
        weights = load_file(file)
        for name, weight in weights.items():
            if of(name):
                weights[name] = weight + 0.1 * torch.randn_like(weight)
        save_file(weights, file, metadata={"format": "pt"})
        return root

    return tune


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What is converted the long way; nothing really is."""
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(conversion, "_run", lambda script, *_: commands.append(tuple(script)))
    return commands


def answers(root: Path, engine: str) -> list[list[int]]:
    made = generate_all(root, PROMPTS, GREEDY, engine=engine, settings=Serve(cache_gb=1))
    return [answer.token_ids for answer in made]


def lay(base: Path, tuned: Path) -> Path:
    """Convert a tuned model with its base at hand."""
    target = tuned / ENGINES / "openvino-fp32"
    target.mkdir(parents=True)
    convert(tuned / MODEL, target, engine="openvino", weights="fp32", say=print, base=base)
    return target


def test_the_bases_graph_with_tuned_weights_answers_as_the_tuned_model(
    base: Path, tuned: Callable[..., Path], converted: list[tuple[str, ...]]
) -> None:
    root = tuned()
    lay(base, root)
    assert converted == []
    assert answers(root, "openvino") == answers(root, "transformers")
    assert answers(root, "openvino") != answers(base, "openvino")


def test_a_weight_that_the_graph_has_under_no_name_takes_a_conversion(
    base: Path, tuned: Callable[..., Path], converted: list[tuple[str, ...]]
) -> None:
    target = lay(base, tuned(of=lambda name: name.endswith("norm.weight")))
    assert len(converted) == 1
    assert "optimum-cli" in converted[0]
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
def test_models_that_differ_in_more_than_weights_share_no_graph(
    base: Path, tuned: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    root = tuned()
    with (root / MODEL / name).open("a", encoding="utf-8") as file:
        file.write(" ")
    with pytest.raises(NotPossible, match="more than their weights"):
        transplant(base / MODEL, base / ENGINES / "openvino-fp32", root / MODEL, tmp_path)


def test_a_graph_that_is_of_another_base_is_not_used(
    base: Path, tuned: Callable[..., Path], converted: list[tuple[str, ...]]
) -> None:
    root = tuned()
    engine = base / ENGINES / "openvino-fp32"
    with (engine / "openvino_model.bin").open("r+b") as file:
        file.write(b"another")
    lay(base, root)
    assert len(converted) == 1


def test_a_weight_that_is_not_in_the_graph_as_the_base_has_it_is_noticed(
    base: Path, tuned: Callable[..., Path], tmp_path: Path
) -> None:
    root = tuned(of=lambda name: "o_proj" in name)
    file = base / MODEL / "model.safetensors"
    weights = {name: w * 2 if "o_proj" in name else w for name, w in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(NotPossible, match=r"o_proj\.weight is not in the base's graph"):
        transplant(base / MODEL, base / ENGINES / "openvino-fp32", root / MODEL, tmp_path)
