"""The wheel that jobs and containers run, and the images' pins."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hieno.targets.azure import images, wheel

ROOT = Path(__file__).parents[2]


def test_the_same_code_makes_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    made = [wheel.write(tmp_path / name).read_bytes() for name in ("one", "two")]
    assert made[0] == made[1]


def test_it_is_installed_by_pip_and_unpacked_by_a_job(tmp_path: Path) -> None:
    path = wheel.write(tmp_path)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", tmp_path / "installed", path], check=True)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", path, tmp_path / "job"], check=True)
    code = "import hieno, hieno.targets.azure.job; print(hieno.__file__)"
    for place in ("installed", "job"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path / place,
            capture_output=True,
            text=True,
            check=True,
            encoding="utf-8",
        )
        assert Path(done.stdout.strip()).is_relative_to(tmp_path / place)
        assert (tmp_path / place / "hieno" / "scaffold" / "hieno.yaml").is_file()
        assert not list((tmp_path / place / "hieno").glob("__pycache__/*.pyc.*"))


def test_a_checkout_on_the_path_is_told_of_as_an_installation_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "Metadata-Version: 2.4\nName: hieno\nVersion: 7.0\n"
    (tmp_path / "hieno.egg-info").mkdir()
    (tmp_path / "hieno.egg-info" / "PKG-INFO").write_text(told, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with zipfile.ZipFile(wheel.write(tmp_path)) as made:
        assert made.read("hieno-7.0.dist-info/METADATA").decode() == told


def test_the_images_have_the_versions_that_are_tested_together() -> None:
    tested = _pins(ROOT / "constraints.txt")
    folder = Path(images.__file__).parent / "images"
    for name in ("train", "serve"):
        pinned = _pins(folder / f"{name}.txt")
        others = {
            package: (version, tested[package])
            for package, version in pinned.items()
            if package in tested and tested[package] != version
        }
        assert name == "train" or not others
        assert pinned["torch"] == tested["torch"]
        assert pinned["transformers"] == tested["transformers"]


def test_a_machine_without_a_gpu_gets_the_torch_without_cuda(tmp_path: Path) -> None:
    for gpu, word in ((False, "ENV UV_TORCH_BACKEND=cpu"), (True, "for CUDA")):
        images._write(tmp_path, "serve", ["packages", "serve"], gpu=gpu)
        text = (tmp_path / "Dockerfile").read_text(encoding="utf-8")
        assert word in text
        assert "#BACKEND#" not in text
        if program := shutil.which("hadolint", path=str(Path(sys.executable).parent)):
            subprocess.run([program, tmp_path / "Dockerfile"], check=True)
    assert [images.has_gpu(f"Standard_{name}") for name in ("NC24ads_A100_v4", "E4s_v3")] == [
        True,
        False,
    ]


def _pins(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), re.M)
    return {name.lower(): version for name, version in found}
