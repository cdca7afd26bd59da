"""The stage `export`: publish a package in another form, opened again and compared."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, cast  # Any: facts are JSON

from hieno.errors import HienoError
from hieno.export import examination
from hieno.export.formats import FORMATS, Wanted
from hieno.export.hearing import CHATS, Chat, Heard, Request
from hieno.files import Manifest, read_manifest
from hieno.package import card
from hieno.package.layout import weights_folder
from hieno.reporting import Reporter
from hieno.stages import StagePlan, publish
from hieno.templates import load_tokenizer, render_prompt, stop_ids

Say = Callable[[str], None]
_CARD = "README.md"
_LICENCES = ("LICENSE", "LICENSE.txt", "NOTICE")


class Form(Protocol):
    """What the module of a format has."""

    def write(self, model: Path, folder: Path, wanted: Wanted, *, work: Path, say: Say) -> None:
        """Write a model folder in this form into an existing, empty folder."""

    def hear(self, folder: Path, request: Request, *, work: Path, say: Say) -> Heard:
        """Open it with a runtime of this form, and ask it."""

    def declared(self, folder: Path, model: Path) -> Mapping[str, frozenset[int]]:
        """Return the stop tokens that it names, by place."""

    def template_of(self, folder: Path) -> str | None:
        """Return its chat template."""


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Write `inputs["package"]` as `settings["format"]`, open it again, and ask it."""
    settings, package = plan.settings, plan.input("package")
    form = FORMATS[settings["format"]]
    module = cast(Form, importlib.import_module(form.module))
    model, work = weights_folder(package), Path(plan.work)
    manifest = read_manifest(package)
    if manifest is None:  # verified before the stage started
        raise AssertionError("the package is a published folder")
    request = _request(model, manifest)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        with publish(plan, "export") as (folder, facts):
            reporter.say(f"writing the {form.title} with {settings['weights']} weights")
            name = f"{settings['name']}-{settings['version']}"
            wanted = Wanted(name, settings["weights"], request.stops)
            module.write(model, folder, wanted, work=work, say=reporter.say)
            reporter.say("opening it again and asking it one question")
            heard = module.hear(folder, request, work=work, say=reporter.say)
            facts.update(_examined(module, folder, model, request, heard, title=form.title))
            facts.update({name: settings[name] for name in ("format", "weights", "version")})
            facts.update(name=settings["name"], package=plan.digests["package"])
            _complete(folder, model, manifest, facts)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _request(model: Path, manifest: Manifest) -> Request:
    question: Chat = [{"role": "user", "content": manifest.facts["reopened"]["question"]}]
    chats, tokenizer = (question, *CHATS), load_tokenizer(model)
    return Request(chats, tuple(render_prompt(tokenizer, chat) for chat in chats), _stops(model))


def _stops(model: Path) -> tuple[int, ...]:
    """Return the stop tokens in the order of generation_config.json: the template's own first."""
    known = stop_ids(model)
    found = json.loads((model / "generation_config.json").read_text(encoding="utf-8"))
    named = found["eos_token_id"]
    order = named if isinstance(named, list) else [named]
    return tuple(sorted(known, key=order.index))


def _examined(
    module: Form, folder: Path, model: Path, request: Request, heard: Heard, *, title: str
) -> dict[str, Any]:
    declared = module.declared(folder, model)
    if not module.template_of(folder):
        raise HienoError(
            f"the {title} was written without the chat template",
            hint="nothing is left of it; choose another --to",
        )
    examination.check_prompts(request, heard, title=title)
    examination.check_stops(declared, request, heard, title=title)
    agreement = examination.compare(model, request, heard, title=title)
    return {
        "question": request.chats[0][-1]["content"],
        "answer": heard.text,
        "agreement": asdict(agreement),
        "prompts": len(heard.prompts),
        "stops": list(request.stops),
        "stops_named_in": sorted(declared),
        "runtime": heard.runtime,
    }


def _complete(folder: Path, model: Path, package: Manifest, facts: Mapping[str, Any]) -> None:
    for name in _LICENCES:
        if (model / name).is_file():
            shutil.copyfile(model / name, folder / name)
    (folder / _CARD).write_text(card.write(package.facts, export=facts), encoding="utf-8")
