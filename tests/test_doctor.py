"""The doctor: one finding for each thing that can be wrong, with its remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from hieno import doctor, machine
from hieno.doctor import Finding, check

NAMES = [
    "python",
    "packages",
    "uv",
    "cores",
    "memory",
    "gpu",
    "speed",
    "home",
    "disk",
    "environments",
    "models",
    "project",
]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def finding(name: str, folder: Path | None = None) -> Finding:
    return next(found for found in check(folder) if found.name == name)


def project(tmp_path: Path, text: str = "name: books\nmodel: demo\n") -> Path:
    (tmp_path / "hieno.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_this_machine_and_no_project_are_well() -> None:
    findings = check()
    assert [found.name for found in findings] == NAMES
    assert [found for found in findings if found.state == "fail"] == []
    assert finding("python").state == finding("packages").state == finding("uv").state == "ok"
    assert finding("project") == Finding("project", "ok", "none here; `hieno init DIR` makes one")


def test_every_finding_that_is_not_well_has_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "disk_free", lambda path: 500_000_000)
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(4 * 10**9, 2 * 10**9))
    monkeypatch.setattr(machine, "cores", lambda: 1)
    unwell = [found for found in check(project(tmp_path)) if found.state != "ok"]
    assert [(found.name, found.state) for found in unwell] == [
        ("cores", "warn"),
        ("memory", "warn"),
        ("disk", "fail"),
        ("project", "fail"),
    ]
    assert all(found.remedy for found in unwell)


def test_a_package_out_of_range_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = [*(requires("hieno") or []), "click<1", "not-there-at-all>=2; extra == 'test'"]
    monkeypatch.setattr(doctor, "requires", lambda name: [*wanted, "never-published-thing>=2"])
    found = finding("packages")
    assert found.state == "fail"
    assert found.text.startswith("click ")
    assert found.text.endswith(" is not <1; never-published-thing is missing")
    assert found.remedy == "uv pip install 'click<1' 'never-published-thing>=2'"


def test_a_wrong_configuration_is_shown_with_its_line(tmp_path: Path) -> None:
    found = finding("project", project(tmp_path, "name: books\nmodle: demo\n"))
    assert found.state == "fail"
    assert found.text == "hieno.yaml:2: unknown key 'modle'; did you mean 'model'?"


def test_a_folder_without_a_project_is_told_from_one_around_it(tmp_path: Path) -> None:
    project(tmp_path)
    inner = tmp_path / "inner"
    inner.mkdir()
    found = finding("project", inner)
    assert (found.state, found.text) == ("fail", f"there is no hieno.yaml in {inner}")


def test_a_project_with_chats_is_well(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "chats.jsonl").write_text("{}\n", encoding="utf-8")
    found = finding("project")
    assert (found.state, found.text) == ("ok", f"{tmp_path.resolve()} (demo)")


def test_a_home_that_is_a_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "file").chmod(0o755)
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "file"))
    found = finding("home")
    assert (found.state, found.text) == ("fail", f"{tmp_path / 'file'} cannot be written")


def test_models_in_the_cache_are_listed(tmp_path: Path) -> None:
    for name in ("b-1", "a-2", "half"):
        (tmp_path / "home" / "models" / name).mkdir(parents=True)
    for name in ("b-1", "a-2"):
        manifest = tmp_path / "home" / "models" / name / "manifest.json"
        manifest.write_text("{}", encoding="utf-8")
    assert finding("models").text == "a-2, b-1"


def test_it_loads_no_network_library_and_torch_only_to_measure(tmp_path: Path) -> None:
    script = (
        "import json, sys; from hieno.doctor import check; check()\n"
        "print(json.dumps([name for name in ('torch', 'transformers', 'httpx', 'mlflow')"
        " if name in sys.modules]))"
    )
    loaded = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", script],
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=True,
            ).stdout
        )
        for _ in range(2)
    ]
    assert loaded == [["torch"], []]
