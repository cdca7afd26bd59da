"""Small tokenizers that cut text as those of the Phi models do, over a made-up vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

PUBLISHED = Path(__file__).parent / "published"
TEXT = [
    "The ferry leaves the harbour at twenty past six and comes back before noon.",
    "Who looks after the boats in winter? The carpenter does, with his daughter.",
    "system user assistant\nYou are a helpful assistant.\n\nHello!  What is this?",
    "x\n\n\ny\n\n\nz\n\nx",
]
PHI3 = ["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
PHI4_MINI = ["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>", "<|tool|>"]
PHI4 = ["<|endoftext|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>"]
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def sentencepiece_style(folder: Path, template: str) -> Path:
    """Phi-3's kind: a space before every run, bytes for unknown letters, tokens that strip."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = [
        token for token in described["added_tokens"] if not token["content"].startswith("<0x")
    ]
    tokenizer = Tokenizer.from_str(json.dumps(described))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, rstrip=token != "<|endoftext|>", normalized=False) for token in PHI3]
    )
    tokenizer.add_tokens([AddedToken("</s>", rstrip=True, normalized=False)])
    return _save(tokenizer, folder, template, stop="<|endoftext|>")


def byte_style(folder: Path, template: str, special: list[str], *, stop: str) -> Path:
    """Phi-4's kind: byte-level tokens cut by the cl100k pattern."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CL100K), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return _save(tokenizer, folder, template, stop=stop)


def make(name: str, folder: Path) -> Path:
    """Write the tokenizer folder of one family, with its published template."""
    template = (PUBLISHED / f"{name}.jinja").read_text(encoding="utf-8")
    if name in ("phi3", "phi3_5"):
        return sentencepiece_style(folder, template)
    if name == "phi4_mini":
        return byte_style(folder, template, PHI4_MINI, stop="<|endoftext|>")
    if name == "phi4":
        return byte_style(folder, template, PHI4, stop="<|im_end|>")
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return byte_style(folder, template, special, stop="<|im_end|>")


def _save(tokenizer: object, folder: Path, template: str, *, stop: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))  # type: ignore[attr-defined]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": stop,
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    ends = ("<|im_end|>", "<|end|>", "<|endoftext|>")
    ids = [tokenizer.token_to_id(token) for token in ends]  # type: ignore[attr-defined]
    generation = {"eos_token_id": [number for number in ids if number is not None]}
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    return folder
