"""The machine: what it says about itself, and the probe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hieno import machine
from hieno.files import read_json, write_json

# torch imports dill where it is installed, which opens a file as it is imported.
pytestmark = pytest.mark.filterwarnings(
    "ignore:'encoding' argument not specified:EncodingWarning:dill._dill"
)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))


def test_the_probe_measures_once_and_remembers(tmp_path: Path) -> None:
    assert machine.known_speed() is None
    measured = machine.speed()
    assert measured.bfloat16 > 1e8
    assert measured.float32 > 1e8
    assert machine.known_speed() == measured
    assert machine.speed() == measured
    assert read_json(tmp_path / "home" / "machine.json")["machine"] == measured.machine
    assert machine.compute_dtype() == measured.dtype


@pytest.mark.parametrize(("real", "asked"), [(1e9, [32]), (1e11, [32, 2048])])
def test_a_type_that_is_slow_here_is_measured_on_a_few_rows(
    real: float, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []

    def measured(_: str, count: int, *__: int) -> float:
        rows.append(count)
        return real

    monkeypatch.setattr(machine, "_rate", measured)
    assert machine.rate("bfloat16") == real
    assert rows == asked


def test_rates_of_another_machine_or_torch_are_not_used() -> None:
    measured = machine.speed()
    cache = machine.home() / "machine.json"
    write_json(cache, read_json(cache) | {"machine": "another; torch 1.0; 4 cores"})
    assert machine.known_speed() is None
    assert machine.speed().machine == measured.machine


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"machine": "x"}'])
def test_a_broken_cache_is_measured_again(content: str) -> None:
    cache = machine.home() / "machine.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(content, encoding="utf-8")
    assert machine.known_speed() is None


@pytest.mark.parametrize(
    ("bfloat16", "float32", "dtype"),
    [(3e11, 1e11, "bfloat16"), (1.2e11, 1e11, "float32"), (2e10, 1e11, "float32")],
)
def test_bfloat16_is_chosen_only_where_it_is_clearly_faster(
    bfloat16: float, float32: float, dtype: str
) -> None:
    assert machine.Speed("here", bfloat16, float32).dtype == dtype


def test_memory_and_disk_are_within_what_the_machine_has(tmp_path: Path) -> None:
    memory = machine.memory()
    assert 0 < memory.available <= memory.total
    assert machine.disk_free(tmp_path / "not" / "there" / "yet") > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can pin a process to one core")
def test_cores_are_those_the_process_may_use() -> None:
    script = (
        "import os; from hieno import machine\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(machine.cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert done.stdout == "1\n"
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)


def test_gpus_are_read_from_the_drivers_table() -> None:
    text = "NVIDIA H100 80GB HBM3, 81559\nNVIDIA A10, 23028\n[N/A], [N/A]\n\n"
    assert machine.parse_gpus(text) == [
        machine.Gpu("NVIDIA H100 80GB HBM3", 81559 * 2**20),
        machine.Gpu("NVIDIA A10", 23028 * 2**20),
    ]


def test_a_driver_that_fails_has_no_gpu_to_offer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho no devices were found\nexit 9\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert machine.gpus() == []


def test_the_processor_has_a_name_of_one_line() -> None:
    name = machine.cpu_model()
    assert name.strip() == name != ""
    assert "\n" not in name
