"""What a job reads: our code, published folders, the user's files and the resolved plan.

Each is sent once, under the digest of its content, with the caller's own sign-in. Azure's client
would send code with a key of the storage account, which there is none for.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from hieno.config import Config
from hieno.errors import MissingInput
from hieno.files import (
    Manifest,
    digest_file,
    digest_json,
    leave_elsewhere,
    read_manifest,
    replace_folder,
)
from hieno.package.layout import ADAPTER, ENGINES, MODEL, RUN_MODEL
from hieno.reporting import Reporter
from hieno.stages import StagePlan
from hieno.targets.azure import wheel
from hieno.targets.azure.store import ROOT, Store

PLAN, CODE, FILE = "plan", "code", "file_"
SHARED = ("dataset", "run", "package", "evaluation")  # teammates find these by their key
WEIGHTS = (ADAPTER, RUN_MODEL, MODEL.parts[0], str(ENGINES))  # what stays there


def send(plan: StagePlan, store: Store, reporter: Reporter) -> Mapping[str, str]:
    """Send what is not there yet; return the path of each input of the job by its name.

    The names are the plan's roles, `file_N` for its N-th file, `plan`, and `code` for our wheel.
    """
    paths = {role: place(plan.input(role), store, reporter) for role in plan.inputs}
    for number, (name, digest) in enumerate(plan.files.items()):
        paths[f"{FILE}{number}"] = store.put_file(Path(name), digest)
    paths[PLAN] = _plan(plan, store)
    paths[CODE] = _code(store)
    return paths


def is_file(name: str) -> bool:
    """Tell whether an input of that name is a single file."""
    return name in (PLAN, CODE) or name.startswith(FILE)


def place(folder: Path, store: Store, reporter: Reporter) -> str:
    """Return where a published folder lies in the store, sending it where it does not."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise MissingInput(f"{folder} is not complete", hint="`hieno up` makes it again")
    own = store.place(folder) if manifest.kind in SHARED else ""
    there = store.manifest(own) if own else None
    if there is not None and there.digest == manifest.digest:
        return own  # a job made it there, or a teammate sent it
    if there is not None:  # another one of that key: both are kept
        own = ""

    def told(done: int, total: int) -> None:
        reporter.progress(done / 1e6, total / 1e6, "MB", f"sending the {manifest.kind}")

    return store.put_folder(folder, manifest, place=own, told=told)


def name_base(plan: StagePlan, config: Config, store: Store) -> None:
    """Write down which base model a project's jobs are given."""
    if (digest := plan.digests.get("base")) is not None:
        store.write_json(_base(config, store), {"digest": digest})


def find_base(config: Config, store: Store) -> Manifest | None:
    """Return the base model that a project's jobs were given, if it is whole in the store."""
    named = store.read_json(_base(config, store))
    return store.manifest(f"{ROOT}/content/{named['digest']}") if named else None


def publish(folder: Path, store: Store) -> None:
    """Put a small result where teammates look for it: by its key, as a job would have."""
    manifest = read_manifest(folder)
    if manifest:
        store.put_folder(folder, manifest, place=store.place(folder))


def fetch(plan: StagePlan, store: Store) -> bool:
    """Bring the result of a stage here, all but its weights; tell whether there is one."""
    folder = Path(plan.output)
    place = store.place(folder)
    manifest = store.manifest(place)
    if manifest is None or manifest.key != plan.key:
        return False
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    left = store.get_folder(place, partial, without=WEIGHTS)
    if left:
        leave_elsewhere(folder, store.url(place), left)
    replace_folder(partial, folder)
    return True


def _base(config: Config, store: Store) -> str:
    key = digest_json({"model": config.model, "revision": config.revision})[:12]
    return f"{ROOT}/{store.project}/base/{key}.json"


def _plan(plan: StagePlan, store: Store) -> str:
    document = asdict(plan)
    with tempfile.TemporaryDirectory(prefix="hieno-plan-") as folder:
        path = Path(folder) / "plan.json"
        path.write_text(json.dumps(document, indent=2, sort_keys=True), encoding="utf-8")
        return store.put_file(path, digest_json(document))


def _code(store: Store) -> str:
    with tempfile.TemporaryDirectory(prefix="hieno-code-") as folder:
        path = wheel.write(Path(folder))
        return store.put_file(path, digest_file(path))


def is_whole(folder: Path, manifest: Manifest) -> bool:
    """Tell whether every file of a published folder is here."""
    return all((folder / name).is_file() for name in manifest.files)
