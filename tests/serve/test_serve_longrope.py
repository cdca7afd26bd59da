"""LongRoPE (Phi-3.5, Phi-4-mini) on OpenVINO: prompts that enter in several pieces."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hieno.config import Serve
from hieno.errors import BadData
from hieno.serve.batch import generate_all
from hieno.serve.engines import Sampling
from hieno.serve.model import read_model

pytest.importorskip("openvino_genai")

FIRST_LENGTH = 512
GREEDY = Sampling(max_new_tokens=24, ignore_eos=True)
SETTINGS = Serve(cache_gb=1, max_requests=4)


@pytest.fixture(scope="module")
def package(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with two sets of rotations, converted."""
    from hieno.package.convert import choose_engine, convert_base
    from hieno.package.layout import MODEL

    if choose_engine("auto") != "openvino":
        pytest.skip("OpenVINO does not run here")
    root = tmp_path_factory.mktemp("longrope")
    shutil.copytree(tiny_model, root / MODEL)
    path = root / MODEL / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    half = config["hidden_size"] // config["num_attention_heads"] // 2
    config["max_position_embeddings"] = 4096
    config["original_max_position_embeddings"] = FIRST_LENGTH
    config["rope_parameters"] = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
        "original_max_position_embeddings": FIRST_LENGTH,
        "factor": 4096 / FIRST_LENGTH,
        "short_factor": [1.0] * half,
        "long_factor": [1.0 + 7 * number / half for number in range(half)],
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    convert_base(root, engine="openvino", weights="fp32", say=print)
    return root


@pytest.mark.slow
def test_prompts_longer_than_a_piece_are_answered_as_transformers_answers_them(
    package: Path,
) -> None:
    # OpenVINO takes 256 tokens of a prompt at a time: the rotations must not change in between.
    prompts = [
        [5 + (number * 31 + size) % 400 for number in range(size)] for size in (20, 300, 480)
    ]
    answers = generate_all(package, prompts, GREEDY, engine="openvino", settings=SETTINGS)
    wanted = generate_all(package, prompts, GREEDY, engine="transformers", settings=SETTINGS)
    # where arithmetic is bfloat16, a late token may differ
    assert [a.token_ids[:12] for a in answers] == [w.token_ids[:12] for w in wanted]


@pytest.mark.slow
def test_nothing_crosses_the_length_at_which_rotations_change(package: Path) -> None:
    assert read_model(package, SETTINGS).context == FIRST_LENGTH
    long = replace(GREEDY, max_new_tokens=100)
    for engine in ("openvino", "transformers"):
        [answer] = generate_all(package, [[7] * 500], long, engine=engine, settings=SETTINGS)
        assert answer.generated == FIRST_LENGTH - 500
        with pytest.raises(BadData, match="the context is 512"):
            generate_all(package, [[7] * 512], long, engine=engine, settings=SETTINGS)
