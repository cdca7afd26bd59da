"""What this machine is and what it can do: cores, memory, disk, GPU, and a one-second probe."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from hieno.errors import BrokenArtifact
from hieno.files import read_json, write_json
from hieno.project import home

# The probe multiplies matrices of the demo model's training shape: one row of tokens times the
# gate and up projections. Both types run for a third of a second after one warm-up each.
PROBE_SHAPE = (2048, 576, 3072)  # tokens, hidden size, both halves of the MLP
PROBE_SECONDS = 0.35
FEW_ROWS = 32  # what a processor without instructions for a type multiplies in a tenth of a second

# bfloat16 gives up eight bits of every number, so it has to be clearly faster to be chosen.
BFLOAT16_GAIN = 1.3


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes that this process may use."""

    total: int
    available: int


@dataclass(frozen=True)
class Gpu:
    """A graphics processor by name, with its memory in bytes."""

    name: str
    memory: int


@dataclass(frozen=True)
class Speed:
    """Rates of matrix products in FLOP/s, and what they were measured on."""

    machine: str
    bfloat16: float
    float32: float

    @property
    def dtype(self) -> Literal["bfloat16", "float32"]:
        return "bfloat16" if self.bfloat16 > BFLOAT16_GAIN * self.float32 else "float32"


def compute_dtype() -> Literal["bfloat16", "float32"]:
    """Return the type in which matrix products are faster here, measured once per machine."""
    return speed().dtype


def speed() -> Speed:
    """Return this machine's rates: from the cache, or measured in about a second."""
    known = known_speed()
    if known is not None:
        return known
    measured = Speed(_identity(), rate("bfloat16"), rate("float32"))
    write_json(_cache(), asdict(measured))
    return measured


def known_speed() -> Speed | None:
    """Return the cached rates, or None where they were not measured with these parts."""
    try:
        found = Speed(**read_json(_cache()))
    except (FileNotFoundError, BrokenArtifact, TypeError):
        return None  # it is only a cache: measuring again is the remedy
    return found if found.machine == _identity() else None


def cores() -> int:
    """Return how many cores this process may keep busy (affinity and container limits)."""
    if sys.platform == "linux":
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = _cgroup_cores()
    return max(1, allowed if quota is None else min(allowed, int(quota)))


def memory() -> Memory:
    """Return the memory, within the container's limit where there is one."""
    import psutil

    found = psutil.virtual_memory()
    limit, used = _cgroup_memory()
    total = min(found.total, limit) if limit else found.total
    available = min(found.available, total - used) if limit else found.available
    return Memory(total, max(0, available))


def peak_memory() -> int:
    """Return the most bytes of memory that this process has held."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def disk_free(path: Path) -> int:
    """Return the free bytes on the disk of a path, which need not exist yet."""
    place = path.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def gpus() -> list[Gpu]:
    """Return the NVIDIA GPUs that the driver shows, without loading torch."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            query, capture_output=True, text=True, encoding="utf-8", timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []  # a driver that does not answer has no GPU to offer
    return parse_gpus(answer.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """Read the lines `name, MiB` of nvidia-smi."""
    found = []
    for line in text.splitlines():
        name, _, size = line.rpartition(",")
        if name and size.strip().isdigit():
            found.append(Gpu(name.strip(), int(size) * 2**20))
    return found


def cpu_model() -> str:
    """Return the processor's name and, on Linux, the family that tells its kind."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, flags=re.MULTILINE))
    parts = [fields.get("model name", platform.machine())]
    parts += [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return ", ".join(parts)


def rate(dtype: str) -> float:
    """Return FLOP/s of a matrix product in a type.

    Where a few rows show that all would take longer than the probe may, they tell enough.
    """
    rows, inner, columns = PROBE_SHAPE
    found = _rate(dtype, FEW_ROWS, inner, columns)
    if 2.0 * rows * inner * columns / found > PROBE_SECONDS:
        return found
    return _rate(dtype, rows, inner, columns)


def _rate(dtype: str, rows: int, inner: int, columns: int) -> float:
    import torch

    kind = getattr(torch, dtype)
    left = torch.ones(rows, inner, dtype=kind)
    right = torch.ones(inner, columns, dtype=kind)
    product = torch.empty(rows, columns, dtype=kind)
    seconds = _seconds_each(lambda: torch.mm(left, right, out=product), PROBE_SECONDS)
    return 2.0 * rows * inner * columns / seconds


def _seconds_each(work: Callable[[], object], budget: float) -> float:
    """Return the fastest run of `work`: others on the machine only ever make it slower."""
    began = time.perf_counter()
    work()
    if time.perf_counter() - began > budget:  # so slow that the warm-up tells enough
        return time.perf_counter() - began
    best = float("inf")
    stop = time.perf_counter() + budget
    while time.perf_counter() < stop:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def _identity() -> str:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    return f"{cpu_model()}; torch {torch}; {cores()} cores"


def _cache() -> Path:
    return home() / "machine.json"


def _cgroup_cores() -> float | None:
    """Return the CPU limit of the container (version 2, then 1), None without one."""
    text = _read("/sys/fs/cgroup/cpu.max")
    if text is None:
        quota = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
        period = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
        text = f"{quota} {period}" if quota and period else "max 1"
    quota, _, period = text.partition(" ")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _cgroup_memory() -> tuple[int | None, int]:
    """Return the memory limit of the container and what is used of it."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        text = _read(limit)
        if text and text.isdigit() and int(text) < 2**60:  # version 1 says "none" as 2**63
            spent = _read(used)
            return int(text), int(spent) if spent and spent.isdigit() else 0
    return None, 0


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None
