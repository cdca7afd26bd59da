"""Models from a hub: ask for the commit, fetch the files that are taken, publish them."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hieno.errors import (
    AccessDenied,
    ConfigError,
    HienoError,
    MissingInput,
    Unreachable,
    disk_full_is_named,
)
from hieno.models.cache import models_folder
from hieno.models.checks import WEIGHTS, is_taken
from hieno.models.publication import Origin, publish
from hieno.models.source import Source, near
from hieno.reporting import Reporter

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

_TICK = 0.5


def download(source: Source, reporter: Reporter) -> Path:
    """Download one commit of a hub model, publish it and return its package root.

    A cut connection is resumed where it ended; whole files outlive a pull that failed. A token is
    used only where `HF_TOKEN` or the hub's own sign-in gives one.
    """
    with _errors_named(source):
        info = _describe(source)
        files = {
            file.rfilename: file.size or 0
            for file in info.siblings or ()
            if is_taken(file.rfilename)
        }
        _refuse_without_weights(source, info, files)
        commit = str(info.sha)
        # The commit is part of the name: files of two commits must never meet in one folder.
        staging = models_folder() / f"{source.folder(commit)}.download"
        with disk_full_is_named(staging), _watched(staging, sum(files.values()), reporter):
            _fetch(source, commit, list(files), staging)
    reporter.say(f"{source.name} at commit {commit}")
    root = publish(staging, Origin(source, commit, _licence(source, info)), reporter, share=True)
    shutil.rmtree(staging)
    return root


def _describe(source: Source) -> ModelInfo:
    _switch_telemetry_off()
    from huggingface_hub import HfApi

    return HfApi().model_info(source.name, revision=source.revision, files_metadata=True)


def _fetch(source: Source, commit: str, names: list[str], staging: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    snapshot_download(
        source.name,
        revision=commit,
        local_dir=staging,
        allow_patterns=names,
        max_workers=4,
    )


def _switch_telemetry_off() -> None:
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True  # read once, perhaps before the line above


def _refuse_without_weights(source: Source, info: ModelInfo, files: dict[str, int]) -> None:
    if any(WEIGHTS.fullmatch(name) for name in files):
        return
    others = [file.rfilename for file in info.siblings or ()]
    pickles = [name for name in others if name.endswith((".bin", ".pt", ".pth"))]
    only = f" (only {pickles[0]}, which can run code when it is opened)" if pickles else ""
    raise ConfigError(
        f"{source.name} has no safetensors weights{only}",
        hint="choose a model that publishes safetensors",
    )


def _licence(source: Source, info: ModelInfo) -> str:
    if source.preset:
        return source.preset.licence
    card = info.card_data
    return str(card.get("license") or "") if card else ""


@contextmanager
def _watched(folder: Path, total: int, reporter: Reporter) -> Iterator[None]:
    """Report how much of a download has arrived while the body runs."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_TICK):
            reporter.progress(_size(folder) / 1e6, total / 1e6, "MB", "downloading")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _size(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*"):
        try:
            found += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # renamed into place since it was listed
            continue
    return found


@contextmanager
def _errors_named(source: Source) -> Iterator[None]:
    """Say what the hub's and the network's errors mean and what to do about each."""
    from huggingface_hub import errors as hub

    # The client's own error: which HTTP library it stands on has changed before.
    transport: type[Exception] = vars(hub)["HTTPError"]
    try:
        yield
    except hub.GatedRepoError:
        raise _gated(source) from None
    except hub.RepositoryNotFoundError:
        raise _unknown(source) from None
    except hub.RevisionNotFoundError:
        raise MissingInput(
            f"{source.name} has no revision {source.revision}",
            hint="look at the commits on the model's page, or leave --revision out",
        ) from None
    except hub.HfHubHTTPError as error:
        raise _refused(source, error.response.status_code) from None
    except (hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError, transport) as error:
        raise _unreachable(source, type(error).__name__) from None


def _gated(source: Source) -> HienoError:
    return AccessDenied(
        f"{source.name} is open only to those who accepted its licence",
        hint=f"accept it at {_page(source)}, then set HF_TOKEN to a token that may read it",
    )


def _unknown(source: Source) -> HienoError:
    similar = near(source.name)
    other = f"did you mean '{similar}'? " if similar and similar != source.name else ""
    return MissingInput(
        f"the hub has no model {source.name}, or it is private",
        hint=f"{other}For a private model set HF_TOKEN",
    )


def _refused(source: Source, status: int) -> HienoError:
    if status in (401, 403):
        return AccessDenied(
            f"the hub refuses {source.name} (HTTP {status})",
            hint="set HF_TOKEN to a token that is valid and may read this model",
        )
    return Unreachable(
        f"the hub answers {status} for {source.name}",
        hint="type the same command again later: whole files that arrived are kept",
    )


def _unreachable(source: Source, problem: str) -> HienoError:
    return Unreachable(
        f"{source.name} cannot be fetched: the hub does not answer ({problem})",
        hint="connect to the network, then type the same command again: whole files that arrived"
        " are kept",
    )


def _page(source: Source) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{source.name}"
