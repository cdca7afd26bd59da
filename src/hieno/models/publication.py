"""Turn a checked model folder into a published one with a template, stops and a manifest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # settings of a model have no type

from hieno.errors import ConfigError
from hieno.files import digest_json, published, write_json
from hieno.models import checks
from hieno.models.cache import KIND, models_folder
from hieno.models.inspection import Inspected, inspect
from hieno.models.source import Source
from hieno.models.weights import count_parameters
from hieno.package.layout import MODEL
from hieno.reporting import Reporter


@dataclass(frozen=True)
class Origin:
    """Where a folder's model comes from: its source at one revision, and its licence."""

    source: Source
    revision: str
    licence: str

    @property
    def shown(self) -> str:
        return self.source.name


def publish(folder: Path, origin: Origin, reporter: Reporter, *, share: bool = False) -> Path:
    """Publish a model folder in the cache and return its package root.

    The folder is left as it is, unless `share` lets its files be the published ones too.
    """
    shown = origin.shown
    files = checks.accept(folder, shown=shown)
    config = checks.clean_config(folder / "config.json", shown=shown)
    settings = checks.clean_tokenizer_config(folder / "tokenizer_config.json", shown=shown)
    parameters = count_parameters(path for path in files if checks.WEIGHTS.fullmatch(path.name))
    root = models_folder() / origin.source.folder(origin.revision)
    key = digest_json([origin.source.kind, shown, origin.revision])
    with published(root, kind=KIND, key=key) as (partial, facts):
        model = partial / MODEL
        model.mkdir(parents=True)
        _bring(files, model, reporter, share=share)
        _write_template(model, settings, shown)
        write_json(model / "config.json", config)
        write_json(model / "tokenizer_config.json", settings)
        reporter.progress(0, None, "templates", "proving that training and serving agree")
        found = inspect(model, shown=shown)
        write_json(model / "generation_config.json", _generation(model, config, found, shown))
        facts.update(_facts(origin, config, found, parameters))
        facts["sizes"] = {
            path.relative_to(partial).as_posix(): path.stat().st_size
            for path in sorted(model.iterdir())
        }
    return root


def _bring(files: Iterable[Path], model: Path, reporter: Reporter, *, share: bool) -> None:
    sized = [(path, path.stat().st_size / 1e6) for path in files]
    total = sum(size for _, size in sized)
    done = 0.0
    for path, size in sized:
        reporter.progress(done, total, "MB", path.name)
        if not (share and _linked(path, model / path.name)):
            shutil.copyfile(path, model / path.name)
        done += size


def _linked(path: Path, target: Path) -> bool:
    """Give a file a second name: should publishing fail, the first one is still there."""
    try:
        os.link(path, target)
    except OSError:
        return False
    return True


def _write_template(model: Path, settings: dict[str, Any], shown: str) -> None:
    template = settings.pop("chat_template", None)
    if isinstance(template, list):  # several named templates
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    path = model / "chat_template.jinja"
    if not path.is_file():
        if not isinstance(template, str) or not template:
            raise ConfigError(
                f"{shown} has no chat template",
                hint="choose an instruct model: a base model without a template cannot chat",
            )
        path.write_text(template, encoding="utf-8", newline="")


def _generation(
    model: Path, config: dict[str, Any], found: Inspected, shown: str
) -> dict[str, Any]:
    """Return generation_config.json with every token at which a reply may end, the stop first."""
    path = model / "generation_config.json"
    given = checks.read_settings(path, shown=shown) if path.is_file() else {}
    stops = [found.stop, found.eos, *_listed(given), *_listed(config)]
    pad = [found.pad, given.get("pad_token_id"), config.get("pad_token_id"), found.eos]
    return {
        **given,
        "bos_token_id": given.get("bos_token_id", config.get("bos_token_id")),
        "eos_token_id": list(dict.fromkeys(stop for stop in stops if stop is not None)),
        "pad_token_id": next((number for number in pad if number is not None), found.stop),
    }


def _listed(settings: dict[str, Any]) -> list[int]:
    found = settings.get("eos_token_id")
    ids = found if isinstance(found, list) else [found]
    return [number for number in ids if type(number) is int]


def _facts(
    origin: Origin, config: dict[str, Any], found: Inspected, parameters: int
) -> dict[str, Any]:
    preset = origin.source.preset
    return {
        "origin": origin.source.kind,
        "source": origin.source.name,
        "preset": preset.name if preset else None,
        "requested": origin.source.revision,
        "revision": origin.revision,
        "licence": origin.licence,
        "parameters": parameters,
        "context": config.get("max_position_embeddings"),
        "architecture": config["architectures"][0],
        "template": found.family,
    }
