"""The container image, as far as it can be looked at without an engine that builds it.

What is not proven here: that the base image can be fetched, and that a build ends.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest

from hieno.errors import MissingInput, UsageError
from hieno.ports import free_port
from hieno.serve.mount import find_model

ROOT = Path(__file__).parents[2]
INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, each on one line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    matches = [INSTRUCTION.match(line) for line in whole]
    assert None not in matches
    return [(match[1], " ".join(match[2].split())) for match in matches if match]


def values(name: str) -> list[str]:
    return [value for kind, value in instructions() if kind == name]


def words(value: str) -> list[str]:
    """Return the words of an instruction in its JSON form."""
    import json

    found: list[str] = json.loads(value)
    return found


def environment() -> dict[str, str]:
    pairs = [pair.split("=", 1) for value in values("ENV") for pair in value.split()]
    return {name: value for name, value in pairs}


def test_linter_has_nothing_to_say() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("hadolint is not installed beside Python")
    done = subprocess.run(
        [program, str(ROOT / "Dockerfile")], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_build_context_holds_what_is_copied_and_nothing_private() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    taken = [rule[1:] for rule in rules if rule.startswith("!")]
    assert all((ROOT / name).exists() for name in taken)
    copied = {
        name
        for value in values("COPY")
        if not value.startswith("--from")
        for name in value.split()[:-1]
    }
    assert copied == {"pyproject.toml", "README.md", "LICENSE", "constraints.txt", "src"}
    assert {name.split("/")[0] for name in taken} == copied
    private = ["keys.json", ".hieno", "*.safetensors", ".git", "chats.jsonl"]
    assert not any(fnmatch(name, pattern) for name in taken for pattern in private)


def test_it_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    assert values("USER") == ["10001:10001"]
    order = [kind for kind, _ in instructions()]
    assert order.index("USER") > max(i for i, kind in enumerate(order) if kind == "RUN")
    [health] = values("HEALTHCHECK")
    assert "--start-period=600s" in health
    assert values("EXPOSE") == ["5001"]
    stages = [value.split()[-1] for value in values("FROM")]
    assert stages[-1] == "mounted"  # what a plain build makes needs no other context
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert all(
        re.match(r"[a-zA-Z0-9._-]+==\S+$", line) for line in pinned.splitlines() if line[:1] != "#"
    )


@pytest.fixture(scope="module")
def started(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run the entry point with the image's variables alone, and the model where Azure puts it."""
    place = tmp_path_factory.mktemp("image")
    mounted = place / "models" / "my-model" / "7"
    mounted.parent.mkdir(parents=True)
    mounted.symlink_to(tiny_model)
    port = free_port()
    command = [word.replace("5001", str(port)) for word in words(values("ENTRYPOINT")[0])]
    assert command[0] == "python"
    variables = environment() | {
        "PATH": str(Path(sys.executable).parent),
        "AZUREML_MODEL_DIR": str(place / "models"),
        "HOME": str(place / "tmp"),
        "HIENO_HOME": str(place / "tmp" / "hieno"),
        "OMP_NUM_THREADS": "1",
    }
    # An editable installation finds the sources of this very tree.
    variables |= {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=variables, cwd=place, stdout=log, stderr=log, executable=sys.executable
        )
    try:
        deadline = time.monotonic() + 300
        while "hieno: ready" not in (said := (place / "log").read_text(encoding="utf-8")):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
        yield port
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()


def test_entry_point_serves_the_mounted_model_in_a_clean_environment(started: int) -> None:
    url = f"http://127.0.0.1:{started}"
    assert httpx.get(f"{url}/").text == "Healthy"
    # Behind another machine's address: nobody asks it as localhost there.
    asked = {"input_data": ["Who?"], "params": {"max_new_tokens": 2}}
    answer = httpx.post(f"{url}/score", json=asked, headers={"host": "10.0.0.7:5001"}, timeout=60)
    assert answer.status_code == 200


def test_health_check_succeeds_on_a_ready_container_and_fails_without(started: int) -> None:
    command = words(values("HEALTHCHECK")[0].partition("CMD ")[2])
    codes = []
    for port in (started, free_port()):
        check = [sys.executable, *(word.replace("5001", str(port)) for word in command[1:])]
        codes.append(subprocess.run(check, capture_output=True, check=False).returncode)
    assert codes == [0, 1]


def test_a_mounted_model_is_found_and_several_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="there is no model in"):
        find_model({}, mount=tmp_path / "nothing")
    assert find_model({}, mount=tiny_model) == tiny_model
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(tiny_model)
        if name == "one":
            assert find_model({}, mount=tmp_path) == tmp_path / "one"
    with pytest.raises(UsageError, match="there are several models"):
        find_model({"AZUREML_MODEL_DIR": str(tmp_path)})
