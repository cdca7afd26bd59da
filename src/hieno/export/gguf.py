"""A GGUF file, as llama.cpp and Ollama read it, with a Modelfile for the latter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hieno import environments
from hieno.export import copies, modelfile
from hieno.export.formats import Wanted
from hieno.export.hearing import Heard, Request, hear_apart, run_apart
from hieno.templates import load_tokenizer

ENVIRONMENT = "gguf"
_CONVERTERS_WORD = {"fp16": "f16", "fp32": "f32", "bf16": "bf16", "int8": "q8_0"}


def write(
    model: Path, folder: Path, wanted: Wanted, *, work: Path, say: Callable[[str], None]
) -> None:
    """Write `NAME.gguf` and its Modelfile into an existing, empty folder."""
    python = environments.ensure(ENVIRONMENT, say=say)
    tokenizer = load_tokenizer(model)
    words = [str(tokenizer.convert_ids_to_tokens(stop)) for stop in wanted.stops]
    copy = work / "model"
    byte_level = _prepare(model, copy, stop=words[0])
    request = {
        "folder": str(copy),
        "file": str(folder / f"{wanted.name}.gguf"),
        "weights": _CONVERTERS_WORD[wanted.weights],
        # llama.cpp lets Phi-3's control tokens swallow white space where the name says Phi-3.
        "name": wanted.name if byte_level else f"{wanted.name} (phi-3)",
    }
    run_apart(python, "convert_gguf.py", request, failed="the conversion to GGUF failed")
    template = modelfile.template(tokenizer)
    if template is None:
        say("no Modelfile: Ollama's templates cannot say what this chat template says")
        return
    text = modelfile.write(f"{wanted.name}.gguf", template, words)
    (folder / modelfile.NAME).write_text(text, encoding="utf-8")


def hear(folder: Path, request: Request, *, work: Path, say: Callable[[str], None]) -> Heard:
    """Open the file with llama.cpp and ask it."""
    python = environments.ensure(ENVIRONMENT, say=say)
    return hear_apart(python, "ask_gguf.py", _file(folder), request, work)


def declared(folder: Path, model: Path) -> Mapping[str, frozenset[int]]:
    """Return the stop tokens that the Modelfile names.

    The file itself has room for one of them; for the others llama.cpp goes by their names, which
    only asking can tell.
    """
    path = folder / modelfile.NAME
    if not path.is_file():
        return {}
    tokenizer = load_tokenizer(model)
    words = modelfile.stops(path.read_text(encoding="utf-8"))
    return {modelfile.NAME: frozenset(tokenizer.convert_tokens_to_ids(words))}


def template_of(folder: Path) -> str | None:
    """Return the chat template in the file's own settings."""
    from gguf import GGUFReader

    field = GGUFReader(_file(folder)).get_field("tokenizer.chat_template")
    return None if field is None else str(field.contents())


def _file(folder: Path) -> Path:
    return next(folder.glob("*.gguf"))


def _prepare(model: Path, copy: Path, *, stop: str) -> bool:
    """Lay a model out as the converter wants it; tell whether its tokens are of bytes."""
    copies.lay_out(model, copy)
    described = copies.read(model / "tokenizer.json")
    byte_level = not described["model"].get("byte_fallback")
    settings = {
        **copies.read(model / "tokenizer_config.json"),
        # The template says where a chat begins and ends; nothing is to be added to it.
        "add_bos_token": False,
        "add_eos_token": False,
        "eos_token": stop,
        "tokenizer_class": "GPT2Tokenizer" if byte_level else "LlamaTokenizer",
    }
    copies.replace(copy / "tokenizer_config.json", settings)
    return byte_level
