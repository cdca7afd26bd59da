"""A dataset of a hub by its name: the real library against a loopback stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_of_datasets import Hub
from preparing import chat, plan_of

from hieno.files import read_jsonl, read_manifest
from hieno.stages import save_plan

NAME = "HuggingFaceH4/ultrachat_200k"


@pytest.fixture(scope="module")
def ultrachat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the columns, splits and file names of UltraChat 200k, 300 rows in all."""
    import pyarrow as pa
    from pyarrow import parquet

    folder = tmp_path_factory.mktemp("ultrachat")
    (folder / "data").mkdir()
    for split, start, count in (("train_sft", 0, 200), ("test_sft", 200, 100)):
        rows = [
            {
                "prompt": f"question {i}?",
                "prompt_id": f"{i:064x}",
                "messages": chat(f"question {i} of {i * 7919}?", f"answer {i}")["messages"],
            }
            for i in range(start, start + count)
        ]
        path = folder / "data" / f"{split}-00000-of-00001-{start:016x}.parquet"
        parquet.write_table(pa.Table.from_pylist(rows), path)
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n"
    for split in ("train_sft", "test_sft"):
        card += f"  - split: {split}\n    path: data/{split}-*\n"
    (folder / "README.md").write_text(card + "---\n", encoding="utf-8")
    return folder


def get(
    address: str, home: Path, model: Path, split: str, name: str = NAME, **variables: str
) -> tuple[int, dict[str, Any], str]:
    """Run the stage as its own process, as the pipeline does: (exit code, last message, output)."""
    plan = plan_of(model, home, [], name="made" + "".join(filter(str.isalnum, split)))
    hub = {"name": name, "subset": None, "split": split, "revision": None}
    plan = replace(plan, settings={**plan.settings, "hub": hub, "shown": name})
    save_plan(plan, home / "plan.json")
    child = subprocess.Popen(
        [sys.executable, "-m", "hieno.stages", str(home / "plan.json")],
        stdin=subprocess.PIPE,  # a stage leaves when this closes
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={
            **{key: value for key, value in os.environ.items() if key != "HF_TOKEN"},
            "HF_ENDPOINT": address,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_OFFLINE": "0",
            **variables,
        },
    )
    with child:
        assert child.stdout is not None
        lines = [json.loads(line) for line in child.stdout]
        child.wait()
    return child.returncode, lines[-1] if lines else {}, plan.output


def test_a_slice_of_ultrachat_is_fetched_and_then_comes_from_the_cache(
    ultrachat: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with Hub(ultrachat) as hub:
        code, told, output = get(hub.address, tmp_path, tiny_model, "train_sft[:5%]")
        assert code == 0, told
        address = hub.address
    manifest = read_manifest(Path(output))
    assert manifest is not None
    assert manifest.facts["read"] == 10
    assert manifest.facts["rows"]["train"] + manifest.facts["rows"]["test"] == 10
    asked = [row["messages"][0]["content"] for row in read_jsonl(Path(output) / "train.jsonl")]
    assert set(asked) <= {f"question {i} of {i * 7919}?" for i in range(10)}
    code, told, output = get(address, tmp_path, tiny_model, "test_sft[:10]", HF_HUB_OFFLINE="1")
    assert code == 0, told
    manifest = read_manifest(Path(output))
    assert manifest is not None
    assert manifest.facts["read"] == 10


@pytest.mark.parametrize(
    "offline", ["1", pytest.param("0", marks=pytest.mark.slow, id="the client tries for 20 s")]
)
def test_a_hub_that_does_not_answer_is_an_error_with_a_way_out(
    tiny_model: Path, tmp_path: Path, offline: str
) -> None:
    code, told, _ = get("http://127.0.0.1:9", tmp_path, tiny_model, "train", HF_HUB_OFFLINE=offline)
    assert code == 3
    assert told["error"]["message"].startswith(
        f"{NAME} cannot be fetched: the hub does not answer ("
    )
    assert "and it is not in the cache" in told["error"]["message"]


def test_an_unknown_set_and_an_unknown_split_are_told_apart(
    ultrachat: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with Hub(ultrachat) as hub:
        code, told, _ = get(hub.address, tmp_path, tiny_model, "train", name="acme/none")
        assert code == 2
        assert told["error"]["message"].startswith("data.source: Dataset 'acme/none' doesn't exist")
        code, told, _ = get(hub.address, tmp_path, tiny_model, "trian")
        assert code == 2
        assert told["error"]["message"].startswith(f'{NAME}: Unknown split "trian".')
        assert told["error"]["hint"].startswith("correct data.split")
