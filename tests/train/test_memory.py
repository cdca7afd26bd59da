"""Steps are divided so that they fit into memory, and what changes is said."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from hieno.config import Train
from hieno.errors import ConfigError
from hieno.models.presets import PRESETS
from hieno.train.memory import Shape, fit, need, shape_of

DEMO = Shape(30, 576, 1536, 49152, 576, 192, tied=True)
PHI = Shape(32, 3072, 8192, 32064, 3072, 3072, tied=False)
LORA = Train(rank=32)
FULL = Train(method="full")


def test_a_shape_counts_the_parameters_of_the_model_that_it_describes(tiny_model: Path) -> None:
    assert DEMO.parameters == pytest.approx(PRESETS["demo"].parameters, rel=1e-3)
    assert PHI.parameters == pytest.approx(PRESETS["phi-3.5-mini"].parameters, rel=1e-3)
    shape = shape_of(tiny_model)
    assert (shape.layers, shape.hidden, shape.query, shape.key_value) == (2, 64, 64, 32)


def test_what_fits_is_not_changed() -> None:
    found = fit(DEMO, LORA, dtype="bfloat16", lengths=[60] * 99, free=20 * 10**9)
    assert (found.pass_tokens, found.checkpointing, found.changed) == (4096, False, "")
    assert found.need.total < 0.85 * 20e9


def test_passes_shrink_before_activations_are_computed_again() -> None:
    smaller = fit(DEMO, LORA, dtype="bfloat16", lengths=[999] * 9, free=4 * 10**9)
    assert smaller.pass_tokens < 4096
    assert not smaller.checkpointing
    assert smaller.changed == f"passes of {smaller.pass_tokens} tokens instead of 4096"
    least = fit(DEMO, LORA, dtype="bfloat16", lengths=[2048] * 9, free=25 * 10**8)
    assert least.checkpointing
    assert least.changed.endswith("activations are computed again (train.checkpointing)")


def test_a_run_that_cannot_fit_is_refused_with_the_gigabytes() -> None:
    with pytest.raises(ConfigError) as caught:
        fit(PHI, FULL, dtype="bfloat16", lengths=[2048] * 9, free=20 * 10**9)
    wanted = need(PHI, FULL, dtype="bfloat16", pass_tokens=2048, checkpointing=True).total / 1e9
    assert caught.value.message == (
        f"train: this run needs about {wanted:.1f} GB of memory even in the smallest passes, "
        "and 20.0 GB are free"
    )
    assert "--method lora" in caught.value.hint


def test_a_longer_chat_needs_more_than_the_passes_say() -> None:
    short = fit(DEMO, LORA, dtype="float32", lengths=[4000], free=50 * 10**9).need
    long = fit(DEMO, LORA, dtype="float32", lengths=[8000], free=50 * 10**9).need
    assert long.activations > 1.9 * short.activations


def test_states_of_frozen_layers_are_kept_where_nothing_else_has_to_give_way() -> None:
    frozen = LORA.model_copy(update={"frozen_layers": 12})
    kept = fit(DEMO, frozen, dtype="float32", lengths=[60] * 1000, free=20 * 10**9)
    assert kept.keep_states
    assert kept.need.states == 60_000 * 576 * 4
    assert kept.need.total == sum(vars(kept.need).values())
    for update in (
        {"keep_states": False},
        {"frozen_layers": 0},
        {"epochs": 1},
        {"checkpointing": True},
    ):
        other = frozen.model_copy(update=update)
        assert not fit(DEMO, other, dtype="float32", lengths=[60], free=20 * 10**9).keep_states
    many = fit(DEMO, frozen, dtype="float32", lengths=[60] * 200_000, free=20 * 10**9)
    assert not many.keep_states
    assert (many.need.states, many.changed) == (0, "")


KEEPING = """
import ctypes, resource
from hieno.train.memory import keep_freed

keep_freed()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes = [ctypes.c_void_p]
faults = []
for _ in range(3):
    block = c.malloc(200_000_000)
    ctypes.memset(block, 1, 200_000_000)
    c.free(block)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[2] - faults[1])
"""


def test_memory_that_a_pass_frees_is_there_for_the_next_one() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc is told to keep what was freed")
    command = [sys.executable, "-c", KEEPING]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    assert int(done.stdout) < 1000  # of 48,829 pages
