"""Weight formats: the one that is named is the one that is served, and small ones still answer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hieno.config import Serve
from hieno.errors import MissingInput
from hieno.package.convert import convert_base
from hieno.package.layout import ENGINES, MODEL, engine_folder
from hieno.serve.batch import generate_all
from hieno.serve.engines import Sampling
from hieno.serve.engines.choice import choose_engine

openvino_genai = pytest.importorskip("openvino_genai")

SETTINGS = Serve(cache_gb=1)
GREEDY = Sampling(max_new_tokens=8, ignore_eos=True)


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """A base model that projects have had converted in two formats."""
    for weights in ("int8", "fp32"):
        (tmp_path / ENGINES / f"openvino-{weights}").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_the_format_that_is_named_is_served_where_several_are_there(
    converted: Path, weights: str
) -> None:
    choice = choose_engine(converted, "openvino", weights)
    assert choice.folder == converted / "engines" / f"openvino-{weights}"


def test_without_a_name_the_largest_format_is_served(converted: Path) -> None:
    assert choose_engine(converted).folder == converted / "engines" / "openvino-fp32"
    shutil.rmtree(converted / "engines" / "openvino-fp32")
    assert choose_engine(converted).folder == converted / "engines" / "openvino-int8"


def test_a_format_that_is_not_there_is_named(converted: Path) -> None:
    with pytest.raises(MissingInput) as caught:
        choose_engine(converted, "openvino", "int4")
    assert caught.value.message == (
        f"{converted} cannot be served with openvino:"
        " the package is not converted for OpenVINO with int4 weights"
    )


def made(package: Path | None, folder: Path, weights: str) -> Path:
    """Return the tiny model with one more format, made of its fp32."""
    if package is None:
        pytest.skip("no converted tiny model")
    (folder / ENGINES).mkdir(parents=True)
    os.symlink(package / MODEL.parent, folder / MODEL.parent)
    os.symlink(package / ENGINES / "openvino-fp32", folder / ENGINES / "openvino-fp32")
    convert_base(folder, engine="openvino", weights=weights, say=print)
    return folder


def size(root: Path, weights: str) -> int:
    folder = engine_folder(root, "openvino", weights)
    assert folder is not None
    return (folder / "openvino_model.bin").stat().st_size


@pytest.mark.parametrize(
    ("weights", "share"),
    [
        ("bf16", 0.5),
        pytest.param("int8", 0.3, marks=pytest.mark.slow),
        pytest.param("int4", 0.3, marks=pytest.mark.slow),
    ],
)
def test_a_smaller_format_is_smaller_and_answers(
    tiny_package: Path | None, tmp_path: Path, weights: str, share: float
) -> None:
    root = made(tiny_package, tmp_path / "package", weights)
    assert size(root, weights) / size(root, "fp32") < share + 0.1
    prompts = [[5 + i, 17, 40, 9, 100] for i in range(4)]
    whole, small = (
        [
            answer.token_ids
            for answer in generate_all(
                root, prompts, GREEDY, engine="openvino", weights=name, settings=SETTINGS
            )
        ]
        for name in ("fp32", weights)
    )
    assert [len(answer) for answer in small] == [8] * 4
    if weights == "bf16":  # a random model is all but undecided; the first tokens still agree
        assert sum(a[0] == b[0] for a, b in zip(whole, small, strict=True)) >= 3
