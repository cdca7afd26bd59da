"""Side environments with the real uv, from a tiny package in a folder; and pip's settings."""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from hieno import environments
from hieno.environments import DEFINITIONS, Definition, uv_environment
from hieno.errors import ConfigError, HienoError, Unreachable, UsageError


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A side environment 'tiny' whose one package is a wheel in a folder that pip is told of."""
    wheels = tmp_path / "wheels"
    write_wheel(wheels)
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_OFFLINE", "1")
    define(monkeypatch, "hienotiny==1.0\n")
    return "tiny"


def define(monkeypatch: pytest.MonkeyPatch, pins: str) -> None:
    definition = Definition("proves something", ("hienotiny",))
    monkeypatch.setitem(DEFINITIONS, "tiny", definition)  # type: ignore[misc]
    monkeypatch.setattr(environments, "pins", lambda name: pins)


def write_wheel(folder: Path) -> None:
    folder.mkdir()
    about = "hienotiny-1.0.dist-info"
    with zipfile.ZipFile(folder / "hienotiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("hienotiny.py", "ANSWER = 42\n")
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: hienotiny\nVersion: 1.0\n"
        )
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{about}/WHEEL", tag)
        wheel.writestr(f"{about}/RECORD", "")


def test_an_environment_is_made_once_with_its_package(tiny: str) -> None:
    said: list[str] = []
    python = environments.ensure(tiny, say=said.append)
    code = "import hienotiny, sys; print(hienotiny.ANSWER, sys.prefix)"
    shown = subprocess.run([python, "-c", code], capture_output=True, encoding="utf-8", check=True)
    place = environments.folder(tiny)
    assert shown.stdout.split() == ["42", str(place)]
    assert said == [
        f"making the side environment 'tiny' that proves something (once per user): {place}"
    ]
    assert environments.ensure(tiny, say=said.append) == python
    assert len(said) == 1


def test_an_interrupted_creation_is_not_taken_for_whole(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = environments.folder(tiny)
    made = environments.ensure(tiny, say=print)
    (place / environments.MARKER).unlink()
    (place / "left-behind").touch()
    assert environments.present(tiny) is None
    assert environments.ensure(tiny, say=print) == made
    assert not (place / "left-behind").exists()


def test_two_who_ask_at_once_make_one(tiny: str) -> None:
    said: list[str] = []
    askers = [
        threading.Thread(target=environments.ensure, args=(tiny,), kwargs={"say": said.append})
        for _ in range(2)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(said) == 1
    assert environments.present(tiny)


def test_other_pins_make_another_environment(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = environments.folder(tiny)
    define(monkeypatch, "hienotiny==1.1\n")
    assert environments.folder(tiny) != first


def test_a_version_that_is_not_offered_fails_and_leaves_nothing(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(monkeypatch, "hienotiny==2.0\n")
    with pytest.raises(HienoError) as caught:
        environments.ensure(tiny, say=print)
    assert type(caught.value) is HienoError
    assert caught.value.message.startswith(
        "the packages of a side environment cannot be installed\n"
    )
    assert "hienotiny==2.0" in caught.value.message
    assert not environments.folder(tiny).exists()


def test_an_index_that_does_not_answer_can_be_tried_again_later(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(Unreachable) as caught:
        environments.ensure(tiny, say=print)
    assert caught.value.message.startswith("packages cannot be fetched\n")
    assert environments.present(tiny) is None


def test_an_unknown_environment_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        environments.ensure("tinny", say=print)
    assert caught.value.message == "there is no side environment 'tinny'"
    assert caught.value.hint == f"known: {', '.join(DEFINITIONS)}"


def test_a_present_environment_is_found_without_uv() -> None:
    code = (
        "import sys; from hieno import environments; environments.present('openvino');"
        "print(sorted({'uv', 'filelock', 'httpx', 'torch'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("name", ["gguf", "onnx", "openvino", "promptflow"])
def test_everything_that_is_asked_for_is_pinned_by_version_alone(name: str) -> None:
    lines = environments.pins(name).splitlines()
    assert all(line.count("==") == 1 and not set(line) & set("/:@ ") for line in lines)
    pinned = {line.partition("==")[0] for line in lines}
    asked = {text.partition("[")[0].partition("<")[0] for text in DEFINITIONS[name].requirements}
    assert asked <= pinned
    assert "torchvision" not in pinned


def test_plain_torch_is_asked_for_only_where_a_wheel_is_at_hand(tmp_path: Path) -> None:
    missing = environments._torch_backend({"UV_FIND_LINKS": str(tmp_path)})
    assert missing == (["--torch-backend", "cpu"] if sys.platform == "linux" else [])
    (tmp_path / "torch-2.13.0-cp311-cp311-linux_x86_64.whl").touch()
    assert environments._torch_backend({"UV_FIND_LINKS": f"/nowhere,{tmp_path}"}) == []


def settings(tmp_path: Path, text: str = "", **variables: str) -> dict[str, str]:
    """Return what uv is told where pip's own file holds `text`."""
    file = tmp_path / "pip.conf"
    file.write_text(text, encoding="utf-8")
    elsewhere = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)}
    return uv_environment({**elsewhere, "PIP_CONFIG_FILE": str(file), **variables})


def test_the_settings_of_pip_reach_uv(tmp_path: Path) -> None:
    told = settings(
        tmp_path,
        "[global]\nindex-url = https://a.example/simple\nfind_links = x.html\n  y.html\n"
        "[install]\nextra-index-url = https://b.example https://c.example\n",
    )
    assert told["UV_DEFAULT_INDEX"] == "https://a.example/simple"
    assert told["UV_INDEX"] == "https://b.example https://c.example"
    assert told["UV_FIND_LINKS"] == "x.html,y.html"
    assert told["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_a_variable_beats_a_file_and_uv_beats_pip(tmp_path: Path) -> None:
    file = "[global]\nindex-url = https://file.example\n"
    told = settings(tmp_path, file, PIP_INDEX_URL="https://variable.example")
    assert told["UV_DEFAULT_INDEX"] == "https://variable.example"
    told = settings(tmp_path, file, UV_DEFAULT_INDEX="https://uv.example")
    assert told["UV_DEFAULT_INDEX"] == "https://uv.example"


def test_an_index_that_is_a_missing_folder_is_left_out(tmp_path: Path) -> None:
    there = tmp_path.as_uri()
    told = settings(tmp_path, f"[global]\nextra-index-url = file:///nowhere/simple {there}\n")
    assert told["UV_INDEX"] == there


def test_no_settings_make_no_variables(tmp_path: Path) -> None:
    told = settings(tmp_path, VIRTUAL_ENV="/somewhere", PIP_CONFIG_FILE="/dev/null")
    assert not [name for name in told if name.startswith("UV_")]
    assert "VIRTUAL_ENV" not in told


def test_a_broken_file_of_pip_is_named_without_its_content(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, "https://user:password@a.example\n")
    assert caught.value.message == f"pip's file {tmp_path / 'pip.conf'} cannot be read"
