"""What the user means by a model: a preset, a hub id or a local folder."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hieno.errors import MissingInput, UsageError
from hieno.files import digest_json
from hieno.models.presets import DEMO, PRESETS, Preset, of_source

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)


@dataclass(frozen=True)
class Source:
    """Where a model comes from; `revision` is None where the newest one is meant."""

    kind: Literal["demo", "hub", "local"]
    name: str
    revision: str | None
    preset: Preset | None = None

    @property
    def slug(self) -> str:
        """A short form of the name that is safe as a folder's name."""
        last = self.preset.name if self.preset else re.split(r"[/\\]", self.name)[-1]
        return re.sub(r"[^a-z0-9.]+", "-", last.lower()).strip("-.")[:40] or "model"

    def folder(self, revision: str) -> str:
        """Return the name of the cached folder of one revision."""
        return f"{self.slug}-{digest_json([self.kind, self.name, revision])[:12]}"


def recognise(model: str, revision: str | None, folder: Path | None = None) -> Source:
    """Tell what `model` names, relative paths being in `folder`.

    Raises `MissingInput` with the nearest known name.
    """
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise UsageError(f"{revision!r} is not a revision", hint="name a commit of the hub")
    if preset := PRESETS.get(model):
        if preset.name == DEMO:
            return _unrevised(Source("demo", preset.source, None, preset), model, revision)
        return Source("hub", preset.source, revision or preset.revision, preset)
    path = (folder or Path()) / Path(model).expanduser()
    if _is_path(model) or os.path.isdir(path):  # unlike Path.is_dir() it answers for any name
        if not os.path.isdir(path):
            raise MissingInput(f"there is no model folder {model}", hint=_hint(model))
        return _unrevised(Source("local", str(path.resolve()), None), model, revision)
    if _HUB_ID.fullmatch(model) and ".." not in model:
        preset = of_source(model)
        pinned = preset.revision if preset else None
        return Source("hub", model, revision or pinned, preset)
    raise MissingInput(f"there is no model '{model}'", hint=_hint(model))


def near(model: str) -> str | None:
    """Return the known preset or hub id that `model` most looks like."""
    known = {name.lower(): name for name in PRESETS}
    known |= {preset.source.lower(): preset.source for preset in PRESETS.values()}
    found = difflib.get_close_matches(model.lower(), known, n=1, cutoff=0.6)
    return known[found[0]] if found else None


def _unrevised(source: Source, model: str, revision: str | None) -> Source:
    if revision is not None:
        raise UsageError(
            f"{model} has no revisions to choose from", hint="leave --revision out for it"
        )
    return source


def _is_path(model: str) -> bool:
    return model.startswith((".", "/", "~", "\\")) or "\\" in model or model[1:2] == ":"


def _hint(model: str) -> str:
    similar = near(model)
    if similar:
        return f"did you mean '{similar}'?"
    return f"name a preset ({', '.join(PRESETS)}), a hub id such as org/name, or a folder"
