"""A Phi-3.5 in its published form, two layers of nothing: real fields, made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers_of_phi import make


def publish_phi(folder: Path) -> Path:
    """Write a sharded Phi-3.5 with LongRoPE, remote code named, and the files of such a page."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    make("phi3_5", folder)
    torch.manual_seed(0)
    factors = [1.0 + step / 8 for step in range(16)]
    config = Phi3Config(
        vocab_size=32064,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": factors,
            "long_factor": [4 * factor for factor in factors],
            "original_max_position_embeddings": 4096,
        },
        sliding_window=262144,
        bos_token_id=1,
        eos_token_id=_id(folder, "<|endoftext|>"),
        pad_token_id=_id(folder, "<|endoftext|>"),
    )
    Phi3ForCausalLM(config).save_pretrained(folder, max_shard_size="17MB")
    _as_published(folder, factors)
    return folder


def _as_published(folder: Path, factors: list[float]) -> None:
    """Write the settings in the form and with the fields of the model's own page."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["rope_parameters"]
    config |= {
        "_name_or_path": "Phi-3.5-mini-instruct",
        "auto_map": {
            "AutoConfig": "configuration_phi3.Phi3Config",
            "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
        },
        "rope_scaling": {
            "type": "longrope",
            "short_factor": factors,
            "long_factor": [4 * factor for factor in factors],
        },
        "rope_theta": 10000.0,
        "torch_dtype": "float32",
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    settings |= {"chat_template": template, "tokenizer_class": "LlamaTokenizer"}
    path.write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").unlink()
    generation = {"bos_token_id": 1, "eos_token_id": [_id(folder, "<|endoftext|>")]}
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    (folder / "modeling_phi3.py").write_text("raise SystemExit('code ran')\n", encoding="utf-8")
    (folder / "training_args.bin").write_bytes(b"pickle")
    (folder / "LICENSE").write_text("MIT\n", encoding="utf-8")


def _id(folder: Path, token: str) -> int:
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    found = [entry["id"] for entry in described["added_tokens"] if entry["content"] == token]
    return int(found[0])
