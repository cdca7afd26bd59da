"""Local folders: the same checks and publishing, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from hieno import models
from hieno.errors import BrokenArtifact, ConfigError, HienoError, MissingInput, UsageError
from hieno.files import tree_digests, verify
from hieno.models.inspection import inspect
from hieno.models.source import recognise
from hieno.models.weights import count_parameters
from hieno.templates import stop_ids
from told import Told


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_model, tmp_path / "model")
    return tmp_path / "model"


def pull(folder: Path) -> Path:
    return models.pull(str(folder), reporter=Told())


def change(folder: Path, name: str, **values: object) -> None:
    path = folder / name
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | values), encoding="utf-8")


def test_a_local_folder_is_published_and_left_alone(copy: Path, cache: Path) -> None:
    before = tree_digests(copy)
    root = pull(copy)
    model = root / "artifacts" / "model"
    assert tree_digests(copy) == before
    assert root.parent == cache
    assert verify(root).facts["parameters"] == count_parameters([copy / "model.safetensors"])
    assert (model / "model.safetensors").read_bytes() == (copy / "model.safetensors").read_bytes()
    assert stop_ids(model) == {0, 2}


def test_a_second_pull_changes_nothing(copy: Path, cache: Path) -> None:
    root = pull(copy)
    written = (root / "manifest.json").stat().st_mtime_ns
    assert pull(copy) == root == models.find(str(copy))
    assert models.find("model", folder=copy.parent) == root
    assert (root / "manifest.json").stat().st_mtime_ns == written


def test_a_changed_folder_is_another_model(copy: Path, cache: Path) -> None:
    root = pull(copy)
    change(copy, "config.json", rope_theta=20000.0)
    assert models.find(str(copy)) is None
    assert pull(copy) != root


def test_a_published_file_that_lost_bytes_is_noticed(copy: Path, cache: Path) -> None:
    root = pull(copy)
    weights = root / "artifacts" / "model" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - 1)
    with pytest.raises(BrokenArtifact) as caught:
        models.find(str(copy))
    assert caught.value.message == f"{weights} is not what was published (its size differs)"
    assert caught.value.hint == f"delete {root}, then type the same command again"


def test_the_list_shows_presets_and_what_is_cached(copy: Path, cache: Path) -> None:
    root = pull(copy)
    rows = models.listing()
    assert [row.name for row in rows[:4]] == list(models.PRESETS)
    assert {row.state for row in rows[:4]} == {"not here"}
    assert (rows[4].name, rows[4].path) == (str(copy), str(root))
    assert rows[4].size > 100_000
    assert models.remove(str(copy)) == [root]
    assert len(models.listing()) == 4
    with pytest.raises(MissingInput, match="is not in the cache"):
        models.remove(str(copy))


def test_names_that_mean_nothing_are_refused_with_the_nearest(cache: Path) -> None:
    for name, hint in (
        ("phi-3.5-mni", "did you mean 'phi-3.5-mini'?"),
        ("qqq", "name a preset (demo, phi-3-mini-4k, phi-3.5-mini, phi-4-mini), a hub id such as"),
        ("../x", "name a preset"),
        ("a/../b", "name a preset"),
        ("x" * 300, "name a preset"),
    ):
        with pytest.raises(MissingInput) as caught:
            models.find(name)
        assert caught.value.hint.startswith(hint), name
    with pytest.raises(UsageError) as wrong:
        models.find("acme/x", revision="../../x")
    assert wrong.value.message == "'../../x' is not a revision"
    with pytest.raises(UsageError, match="demo has no revisions to choose from"):
        models.find("demo", revision="main")


def test_a_preset_is_pinned_by_its_commit() -> None:
    for preset in models.PRESETS.values():
        source = recognise(preset.name, None)
        assert source.revision == preset.revision
        if source.kind == "hub":
            assert len(source.revision or "") == 40
            assert recognise(preset.source, None) == source


def _pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _remote_type(folder: Path) -> None:
    change(folder, "config.json", model_type="evil_phi", auto_map={"AutoConfig": "a--b.C"})


def _encoder(folder: Path) -> None:
    change(folder, "config.json", architectures=["BertModel"])


def _quantised(folder: Path) -> None:
    change(folder, "config.json", quantization_config={"quant_method": "gptq"})


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _list_for_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]", encoding="utf-8")


def _link_outside(folder: Path) -> None:
    (folder / "LICENSE").symlink_to("/etc/hostname")


def _shard_outside(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../x.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def _injection(folder: Path) -> None:
    text = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    (folder / "chat_template.jinja").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_pickles, "{0} has no safetensors weights (only pytorch_model.bin, which can run code"),
        (_remote_type, "{0}: transformers has no model type 'evil_phi' of its own"),
        (_encoder, "{0} is not a causal language model (architectures: ['BertModel'])"),
        (_quantised, "{0} holds quantised weights, which cannot be fine-tuned here"),
        (_no_tokenizer, "{0} has no tokenizer.json"),
        (_list_for_config, "{0}: config.json is not a JSON object"),
        (_link_outside, "{0}/LICENSE is not a file of this folder (it leads to /etc/hostname)"),
        (_shard_outside, "{0}/model.safetensors.index.json is not a safetensors file that can be"),
        (_no_template, "{0} has no chat template"),
        (_injection, "the chat template of {0} renders unlike every training template"),
    ],
)
def test_a_folder_that_cannot_be_trusted_is_refused(
    copy: Path, cache: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(copy)
    with pytest.raises(HienoError) as caught:
        pull(copy)
    assert caught.value.exit_code == 2
    assert caught.value.message.startswith(message.format(copy))
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_settings_that_name_code_or_files_are_left_out(copy: Path, cache: Path) -> None:
    change(copy, "config.json", auto_map={"AutoConfig": "evil--repo.C"})
    change(copy, "config.json", _attn_implementation="evil/kernel")
    change(copy, "tokenizer_config.json", tokenizer_file="https://evil.example/t.json")
    (copy / "modeling.py").write_text("raise SystemExit", encoding="utf-8")
    model = pull(copy) / "artifacts" / "model"
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    settings = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert not {"auto_map", "_attn_implementation"} & set(config)
    assert "tokenizer_file" not in settings
    assert not (model / "modeling.py").exists()


def test_a_template_that_never_ends_is_stopped(copy: Path) -> None:
    endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    (copy / "chat_template.jinja").write_text(endless, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        inspect(copy, shown="my/model", seconds=4)
    assert caught.value.message == (
        "the chat template or tokenizer of my/model cannot be used: it does not end within 4 s"
    )


@pytest.mark.skipif(os.name == "nt", reason="memory is bounded on POSIX only")
def test_a_template_that_swells_is_stopped(copy: Path, cache: Path) -> None:
    swelling = "{{ ('a' * 10 ** 10) | length }}"
    (copy / "chat_template.jinja").write_text(swelling, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        pull(copy)
    assert caught.value.message == (
        f"the chat template or tokenizer of {copy} cannot be used: MemoryError"
    )


def header(described: object, body: bytes = b"") -> bytes:
    text = json.dumps(described).encode()
    return struct.pack("<Q", len(text)) + text + body


FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "its header claims"),
        (struct.pack("<Q", 2**63) + b"{}", "its header claims 9223372036854775808 bytes"),
        (header("x"), "its header is not JSON"),
        (struct.pack("<Q", 2) + b"{]", "its header is not JSON"),
        (header({"a": FOUR, "b": FOUR}, b"1234"), "its tensors overlap or leave a gap at byte 0"),
        (header({"a": FOUR}, b"123"), "it holds 3 bytes of tensors, not 4"),
        (header({"a": FOUR}, b"12345"), "it holds 5 bytes of tensors, not 4"),
        (header({"a": FOUR | {"dtype": "F64"}}, b"1234"), "the tensor 'a' of shape [1] claims 4"),
        (header({"a": FOUR | {"dtype": "PICKLE"}}, b"1234"), "the tensor 'a' has type 'PICKLE'"),
        (header({"a": FOUR | {"shape": [-1]}}, b"1234"), "the tensor 'a' has type 'F32' and"),
        (header({"a": {"dtype": "F32"}}, b"1234"), "the tensor 'a' is not described"),
    ],
)
def test_weights_whose_header_lies_are_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        count_parameters([path])
    assert problem in caught.value.message
