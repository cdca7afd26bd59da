"""What the tests of exports share: a registered package, and a tiny model of Phi-3's own kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tokenizers_of_phi import make

from hieno.config import Train
from hieno.files import published, read_manifest
from hieno.package import layout
from hieno.project import Project, open_project
from hieno.registry import versions

QUESTION = "Who looks after the boats in winter?"


def package_facts(**base: Any) -> dict[str, Any]:
    """Return what the manifest of a package holds."""
    return {
        "name": "books",
        "base": {
            "origin": "hub",
            "source": "org/base",
            "revision": "abc",
            "licence": "MIT",
            "digest": "b1",
            **base,
        },
        "run": {
            "key": "r1",
            "digest": "r2",
            "dtype": "float32",
            "test_loss": 0.5,
            "base_test_loss": 2.0,
            "steps": 12,
            "versions": {"torch": "2.13.0"},
            "settings": Train().model_dump(),
        },
        "dataset": {"digest": "d1", "rows": {"train": 8, "replay": 0, "test": 2}},
        "reopened": {"question": QUESTION, "answer": "Vieno.", "finish_reason": "stop"},
    }


def make_project(root: Path, model: Path) -> Project:
    """Write a project whose only version, the champion, is a package of a model folder."""
    root.mkdir(parents=True)
    (root / "hieno.yaml").write_text("name: books\nmodel: demo\n", encoding="utf-8")
    project = open_project(root)
    package = project.packages / "p1"
    with published(package, kind="package", key="p1") as (folder, facts):
        shutil.copytree(model, folder / layout.MODEL)
        facts.update(package_facts())
    manifest = read_manifest(package)
    assert manifest is not None
    versions.add(
        project.registry, name="books", package=package, digest=manifest.digest, lineage={}
    )
    versions.set_alias(project.registry, "champion", 1)
    return project


def make_phi(folder: Path, family: str = "phi3", *, long: bool = False) -> Path:
    """Write a random two-layer Phi-3 with the tokenizer and published template of a family.

    A `long` one stretches its context with LongRoPE, as Phi-3.5 does.
    """
    import torch
    from transformers import AutoTokenizer, GenerationConfig, Phi3Config, Phi3ForCausalLM

    make(family, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stops = [tokenizer.convert_tokens_to_ids(word) for word in ("<|end|>", "<|endoftext|>")]
    torch.manual_seed(0)
    config = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192 if long else 2048,
        original_max_position_embeddings=2048,
        rope_parameters=_longrope() if long else None,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=stops[0],
        pad_token_id=stops[1],
        sliding_window=None,
    )
    model = Phi3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=stops, pad_token_id=stops[1])
    model.save_pretrained(folder)
    return folder


def _longrope() -> dict[str, Any]:
    factors = [1.0 + step / 8 for step in range(8)]
    return {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": factors,
        "long_factor": [4 * factor for factor in factors],
        "original_max_position_embeddings": 2048,
    }


def content(folder: Path, name: str) -> Any:
    """Return a JSON file of an export."""
    return json.loads((folder / name).read_text(encoding="utf-8"))
