"""A version leaves the project whole and tried, or not at all."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any  # what a stage hands on

import pytest
from click.testing import CliRunner
from exporting import QUESTION, content

from hieno.cli.commands import hieno
from hieno.errors import BrokenArtifact, DiskFull, HienoError, MissingInput, UsageError
from hieno.export import hf, order, stage
from hieno.export.formats import Wanted
from hieno.files import published, verify
from hieno.project import Project, locked
from hieno.registry import versions
from hieno.stages import StagePlan
from told import Told


def export(project: Project, version: str = "1", to: str = "hf", **more: object) -> order.Exported:
    return order.export(project, version, to=to, reporter=Told(), **more)  # type: ignore[arg-type]


def contents(target: Path) -> dict[str, bytes]:
    """Return every file at a path, which may be a file itself."""
    found = target.rglob("*") if target.is_dir() else [target]
    return {str(path): path.read_bytes() for path in found}


def plan(project: Project, to: str = "hf", weights: str = "fp32") -> StagePlan:
    """Return a plan that is run in this process, where something can be made to fail."""
    found = versions.find(project.registry, "champion")
    return order._plan(project, found, to, weights, project.root / "out")


def test_a_hugging_face_folder_is_written_opened_and_compared(project: Project) -> None:
    typed = ["models", "export", "champion", "--to", "hf", "--project", str(project.root)]
    done = CliRunner().invoke(hieno, typed)
    assert done.exit_code == 0, done.stderr
    folder = project.root / "exports" / "books-1-hf-fp32"
    asked, same, prompts, stops, runtime, where = done.stdout.splitlines()
    assert asked.startswith(f"asked   {QUESTION!r} -> ")
    assert same == "same    32 of 32 tokens are the package's own choice"
    assert prompts == "prompt  3 chats are the same tokens as in training"
    assert stops == "stops   [2, 0] end an answer, and stand in generation_config.json"
    assert runtime.startswith("with    transformers ")
    assert where == f"folder  {folder}"
    assert verify(folder).kind == "export"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: mit" in card
    assert "Version 1 of the model as `hf`, with fp32 weights." in card
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not list((project.state / "exports").iterdir())

    again = CliRunner().invoke(hieno, [*typed, "--json"])
    told = json.loads(again.stdout)
    assert (told["made"], told["folder"], told["stops"]) == (False, str(folder), [2, 0])


def test_bfloat16_weights_take_half_and_keep_everything_else(project: Project) -> None:
    stage.run(plan(project, weights="bf16"), Told())
    folder = project.root / "out"
    model = project.packages / "p1" / "artifacts" / "model"
    sizes = [(place / "model.safetensors").stat().st_size for place in (folder, model)]
    assert sizes[0] < 0.6 * sizes[1]
    assert content(folder, "config.json")["dtype"] == "bfloat16"
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (folder / name).read_bytes() == (model / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["7", "--to", "hf"], "there is no model version '7'", "known: 1, champion"),
        (["beta", "--to", "hf"], "there is no model version 'beta'", "known: 1, champion"),
        (["1", "--to", "ggml"], "there is no format 'ggml'", "name one with --to: hf, gguf, onnx"),
        (
            ["1", "--to", "gguf", "--weights", "int4"],
            "a GGUF file is not written with int4 weights",
            "name others with --weights: fp16, fp32, bf16, int8",
        ),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(
    project: Project, arguments: list[str], message: str, hint: str
) -> None:
    typed = ["models", "export", *arguments, "--project", str(project.root)]
    done = CliRunner().invoke(hieno, typed)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {message}\nhint: {hint}\n"
    assert not (project.root / "exports").exists()


def test_a_project_without_versions_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(MissingInput) as caught:
        versions.find(tmp_path, "champion")
    assert caught.value.message == "nothing is registered yet"


@pytest.mark.parametrize("kind", ["folder", "file", "another export"])
def test_what_is_already_there_is_left_alone(project: Project, kind: str) -> None:
    target = project.root / "mine"
    if kind == "file":
        target.write_text("mine", encoding="utf-8")
    elif kind == "folder":
        target.mkdir()
        (target / "notes.txt").write_text("mine", encoding="utf-8")
    else:
        with published(target, kind="export", key="other") as (folder, _):
            (folder / "model.gguf").write_bytes(b"x")
    before = contents(target)
    with pytest.raises(UsageError) as caught:
        export(project, folder=target)
    assert caught.value.message == f"something else is already at {target}"
    assert contents(target) == before


def test_an_export_that_was_damaged_is_not_taken_for_done(project: Project) -> None:
    made = plan(project)
    stage.run(made, Told())
    target = Path(made.output)
    (target / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BrokenArtifact) as caught:
        export(project, folder=target)
    assert caught.value.hint == f"remove {target}, then type the same command again"


def test_a_package_that_is_not_the_registered_one_is_not_exported(project: Project) -> None:
    shutil.rmtree(project.packages / "p1")
    with pytest.raises(BrokenArtifact) as caught:
        export(project)
    assert "is not the package that was registered as version 1" in caught.value.message


def test_no_export_is_made_while_another_command_is_at_work(project: Project) -> None:
    with locked(project), pytest.raises(HienoError, match="another hieno command"):
        export(project)


def test_a_full_disk_leaves_nothing_behind(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DiskFull):
        stage.run(plan(project), Told())
    assert sorted(path.name for path in project.root.iterdir()) == [".hieno", "hieno.yaml"]


def test_an_interrupted_export_leaves_nothing_behind(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hf, "hear", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.run(plan(project), Told())
    assert sorted(path.name for path in project.root.iterdir()) == [".hieno", "hieno.yaml"]


def test_what_a_killed_export_left_is_not_part_of_the_next(project: Project) -> None:
    partial = project.root / "out.partial"
    partial.mkdir()
    (partial / "half.bin").write_bytes(b"x")
    stage.run(plan(project), Told())
    assert not partial.exists()
    assert not (project.root / "out" / "half.bin").exists()


def test_an_export_that_answers_with_noise_is_refused_and_removed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = hf.write

    def damage(model: Path, folder: Path, wanted: Wanted, **more: Any) -> None:
        """Write the folder with a weight matrix in which nothing is left of the model."""
        from safetensors.torch import load_file, save_file

        write(model, folder, wanted, **more)
        tensors = load_file(folder / "model.safetensors")
        name = "model.layers.1.mlp.down_proj.weight"
        tensors[name] = tensors[name].flip(0).contiguous() * 3
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(hf, "write", damage)
    with pytest.raises(HienoError, match="which the package would not say"):
        stage.run(plan(project), Told())
    assert not (project.root / "out").exists()
    assert not (project.root / "out.partial").exists()


def test_an_export_without_a_chat_template_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hf, "template_of", lambda folder: None)
    with pytest.raises(HienoError, match="was written without the chat template"):
        stage.run(plan(project), Told())


def test_stop_tokens_keep_their_order(tiny_model: Path, tmp_path: Path) -> None:
    for named, expected in ((2, (2,)), ([2, 0], (2, 0)), ([0, 2], (0, 2))):
        (tmp_path / "generation_config.json").write_text(
            json.dumps({"eos_token_id": named}), encoding="utf-8"
        )
        assert stage._stops(tmp_path) == expected
