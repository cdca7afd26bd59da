"""The tokenizer and the stop tokens of a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hieno.errors import ConfigError, MissingInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a model folder as tokenizer.json describes it.

    Nothing is downloaded, no code of the folder runs, and torch is not imported.
    """
    if not (folder / "tokenizer.json").is_file():
        raise MissingInput(
            f"there is no tokenizer.json in {folder}",
            hint="name a model folder with a fast tokenizer, such as `hieno models pull` makes",
        )
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False
    )


def stop_ids(folder: Path) -> frozenset[int]:
    """Return the token ids at which the model of a folder stops (generation_config.json)."""
    path = folder / "generation_config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except FileNotFoundError:
        raise MissingInput(
            f"there is no {path.name} in {folder}", hint="`hieno models pull` writes one"
        ) from None
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not JSON: {error}", hint=f"correct or delete {path}"
        ) from None
    ids = found if isinstance(found, list) else [found]
    if not ids or any(type(number) is not int for number in ids):
        raise ConfigError(
            f"{path}: eos_token_id is {found!r}",
            hint="list the ids of the tokens that end a reply, for example [2]",
        )
    return frozenset(ids)
