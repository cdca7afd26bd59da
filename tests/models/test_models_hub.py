"""Models from a hub: the real client against a loopback stand-in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub

from hieno import models
from hieno.files import read_manifest, verify
from hieno.templates import load_tokenizer, prove, stop_ids

CHAT = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello!"}]


def pull(
    hub: Hub | str, home: Path, model: str = "acme/tiny-phi", *more: str, **variables: str
) -> tuple[int, str, str]:
    """Run `hieno models pull` as a user of that hub would."""
    environment = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    environment |= {
        "HF_ENDPOINT": hub if isinstance(hub, str) else hub.address,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "0",
        "HIENO_HOME": str(home),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "hieno", "models", "pull", model, *more],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.fixture(scope="module")
def pulled(published_phi: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The home and the package root of a model that came over a hub that cuts connections."""
    home = tmp_path_factory.mktemp("hub") / "home"
    with Hub(published_phi, cuts=2) as hub:
        code, out, err = pull(hub, home)
        assert (code, hub.cuts) == (0, 0), err
        assert f"acme/tiny-phi at commit {COMMIT}" in err
        assert hub.ranges(), "a download that was cut must go on where it ended"
        fetched = {path.rpartition("/")[2] for _, path, _ in hub.asked if "/resolve/" in path}
    assert "modeling_phi3.py" not in fetched
    assert "training_args.bin" not in fetched
    return home, Path(out)


def test_a_download_with_cut_connections_is_whole(
    pulled: tuple[Path, Path], published_phi: Path
) -> None:
    _, root = pulled
    facts = verify(root).facts
    model = root / "artifacts" / "model"
    for shard in published_phi.glob("*.safetensors"):
        assert (model / shard.name).read_bytes() == shard.read_bytes()
    assert facts["revision"] == COMMIT
    assert facts["source"] == "acme/tiny-phi"
    assert facts["template"] == "phi3_5"
    assert facts["context"] == 131072
    assert facts["licence"] == "mit"
    assert sorted(path.name for path in root.parent.iterdir() if path.is_dir()) == [root.name]


def test_nothing_that_names_code_is_published(pulled: tuple[Path, Path]) -> None:
    model = pulled[1] / "artifacts" / "model"
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert "auto_map" not in config
    assert config["rope_scaling"]["type"] == "longrope"
    assert [path.name for path in model.glob("*.py")] == []
    assert [path.name for path in model.glob("*.bin")] == []


def test_every_stop_token_is_in_the_generation_config(pulled: tuple[Path, Path]) -> None:
    model = pulled[1] / "artifacts" / "model"
    tokenizer = load_tokenizer(model)
    ends = ("<|end|>", "<|endoftext|>")
    assert stop_ids(model) == {tokenizer.convert_tokens_to_ids(token) for token in ends}
    assert prove(tokenizer, [CHAT]) == 1


def test_the_model_opens_with_longrope_and_the_published_weights(
    pulled: tuple[Path, Path], published_phi: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(pulled[1] / "artifacts" / "model")
    plain = AutoModelForCausalLM.from_pretrained(published_phi, trust_remote_code=False)
    assert model.config.rope_parameters["rope_type"] == "longrope"
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, plain(ids).logits)


def test_a_pulled_model_needs_no_hub(
    pulled: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, root = pulled
    code, out, err = pull("http://127.0.0.1:9", home)
    assert (code, out) == (0, str(root)), err
    assert pull("http://127.0.0.1:9", home, "acme/tiny-phi", "--revision", COMMIT)[1] == str(root)
    monkeypatch.setenv("HIENO_HOME", str(home))
    assert models.find("acme/tiny-phi") == root
    assert models.find("acme/other") is None


def test_a_pull_after_an_interruption_keeps_the_files_that_are_whole(
    published_phi: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with Hub(published_phi, cuts=10_000) as hub:
        code, _, err = pull(hub, home)
        assert code == 3
        assert "error: acme/tiny-phi cannot be fetched: the hub does not answer" in err
        assert "hint: connect to the network, then type the same command again: whole files" in err
        assert hub.ranges(), "one pull tries several times, each where the last ended"
        hub.cuts = 0
        hub.asked.clear()
        code, out, err = pull(hub, home)
        assert code == 0, err
        fetched = {path.rpartition("/")[2] for kind, path, _ in hub.asked if kind == "GET"}
        assert "model-00001-of-00002.safetensors" in fetched
        assert "config.json" not in fetched
    assert read_manifest(Path(out)) is not None


def test_a_gated_model_is_refused_until_there_is_a_token(
    published_phi: Path, tmp_path: Path
) -> None:
    with Hub(published_phi, token="hf_right") as hub:
        code, _, err = pull(hub, tmp_path / "home")
        assert code == 2
        assert "error: acme/tiny-phi is open only to those who accepted its licence\n" in err
        page = f"{hub.address}/acme/tiny-phi"
        assert f"hint: accept it at {page}, then set HF_TOKEN to a token that may read it" in err
        code, _, err = pull(hub, tmp_path / "home", HF_TOKEN="hf_right")
        assert code == 0, err
        assert "hf_right" not in err


def test_an_unknown_model_is_refused_with_the_nearest_name(
    published_phi: Path, tmp_path: Path
) -> None:
    with Hub(published_phi) as hub:
        code, _, err = pull(hub, tmp_path / "home", "microsoft/Phi-3.5-mini-instrct")
    assert code == 2
    assert "the hub has no model microsoft/Phi-3.5-mini-instrct, or it is private\n" in err
    assert "hint: did you mean 'microsoft/Phi-3.5-mini-instruct'?" in err


def test_an_unknown_revision_is_refused(published_phi: Path, tmp_path: Path) -> None:
    with Hub(published_phi) as hub:
        code, _, err = pull(hub, tmp_path / "home", "acme/tiny-phi", "--revision", "abc123")
    assert code == 2
    assert "error: acme/tiny-phi has no revision abc123\n" in err


def test_a_hub_that_is_not_there_is_to_be_asked_later(tmp_path: Path) -> None:
    code, _, err = pull("http://127.0.0.1:9", tmp_path / "home")
    assert code == 3
    assert "acme/tiny-phi cannot be fetched: the hub does not answer" in err


def test_a_model_with_pickled_weights_only_is_refused(published_phi: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    shutil.copytree(published_phi, folder)
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with Hub(folder) as hub:
        code, _, err = pull(hub, tmp_path / "home")
        assert not any("/resolve/" in path for _, path, _ in hub.asked)
    assert code == 2
    assert "acme/tiny-phi has no safetensors weights (only pytorch_model.bin, which can run" in err
