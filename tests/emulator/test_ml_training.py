"""A training in the image that its pins make: Azure's own plugin shows its metrics in MLflow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ground import emulated

from emulator.settings import Settings

CHAT = '{"messages": [{"role": "user", "content": "%d?"}, {"role": "assistant", "content": "%d"}]}'
PROJECT = """\
name: pinned
model: %s
target: azure
data: {source: chats.jsonl, near_duplicates: keep}
train: {epochs: 1, dtype: float32}
azure: {preset: cpu}
"""


@pytest.mark.slow
def test_a_training_in_its_own_image_shows_its_metrics(tmp_path: Path, tiny_model: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "hieno.yaml").write_text(PROJECT % tiny_model, encoding="utf-8")
    chats = "\n".join(CHAT % (number, number) for number in range(40))
    (project / "chats.jsonl").write_text(chats, encoding="utf-8")
    with emulated(tmp_path / "azure", Settings(builds_images=True)) as cloud:
        command = [sys.executable, "-m", "hieno", "train"]
        done = subprocess.run(command, cwd=project, env=os.environ, check=False)
        assert done.returncode == 0
        (run,) = cloud.ml.runs.all()
        assert {one["key"] for one in run.metrics} >= {"loss", "learning_rate"}
        assert run.parameters["dtype"] == "float32"
        assert cloud.trace.refused == []
