"""From an answer to everything behind it; one changed byte is found and named where it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from traced import make_project, register

from hieno.cli.commands import hieno
from hieno.endpoint.requests import find_request
from hieno.errors import MissingInput
from hieno.files import MANIFEST, read_manifest, write_json
from hieno.project import Project, open_project
from hieno.registry import tracking
from hieno.registry.trace import Trace, trace
from hieno.registry.versions import champion, path_of
from hieno.seal import sealed
from told import Told

LINES = """\
2026-11-23 08:16:09,548 POST /score 200 132ms 418B blue:1 one
2026-11-23 08:16:10,100 POST /score 401 1ms 60B - refused
2026-11-23 08:16:11,100 POST /v1/chat/completions 499 ClientLeft 90ms 9B green:1 left
2026-11-23 08:16:12,100 POST /score 200 90ms 9B base:base untuned
2026-11-23 08:16:13,100 POST /score 200 90ms 9B blue:9 unknown
2026-11-23 08:16:14,100 POST /score 200 90ms 9B green:1 twice
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tracking, "show", lambda place, reporter: None)  # a picture, not the chain
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Project:
    """A project with one version, and an endpoint that has answered."""
    made = make_project(tmp_path / "project")
    register(made, home)
    made.endpoint.mkdir(parents=True)
    (made.endpoint / "gateway.log").write_text(LINES, encoding="utf-8")
    earlier = "2026-11-22 08:00:00,000 POST /score 200 5ms 9B blue:1 twice\n"
    (made.endpoint / "gateway.log.1").write_text(earlier, encoding="utf-8")
    return made


def follow(project: Project, id: str, *, verify: bool = False) -> Trace:
    return trace(project, id, verify=verify, reporter=Told())


def folder(project: Project, role: str) -> Path:
    [link] = [link for link in follow(project, "champion").links if link.role == role]
    assert link.path is not None
    return Path(link.path)


def test_an_answer_leads_to_everything_behind_it(project: Project) -> None:
    found = follow(project, "one")
    assert [link.role for link in found.links] == [
        *("request", "version", "package", "evaluation", "source", "run", "dataset", "source"),
        *("base", "config", "code"),
    ]
    texts = {link.role: link.text for link in found.links}
    assert texts["request"] == ("POST /score, 200 in 132 ms by blue of hieno, 2026-11-23 08:16:09")
    assert texts["version"].startswith("desk 1 (champion), registered ")
    assert texts["dataset"] == "3 chats to learn, 1 held out, 0 replayed"
    assert texts["source"] == "data/chats.jsonl"
    assert texts["base"] == "base at r1"
    assert texts["config"] == "train.rank 8"
    assert texts["code"].startswith("hieno 0.1.0 (source ")
    assert texts["code"].endswith("), torch 2")
    assert found.config["train"]["train"]["rank"] == 8
    assert found.as_json()["whole"] is None


@pytest.mark.parametrize("id", ["champion", "1", "desk:1", "left"])
def test_a_version_and_an_alias_lead_there_as_well(project: Project, id: str) -> None:
    assert follow(project, id).version == 1


def test_a_chain_that_nobody_touched_is_whole(project: Project) -> None:
    found = follow(project, "one", verify=True)
    assert found.problems == []
    assert found.as_json()["whole"] is True


@pytest.mark.parametrize(
    ("role", "file"),
    [
        ("dataset", "train.jsonl"),
        ("run", "adapter/adapter_model.safetensors"),
        ("package", "artifacts/model/model.safetensors"),
        ("evaluation", "report.json"),
        ("base", "model.safetensors"),
    ],
)
def test_one_changed_byte_is_found_and_named(project: Project, role: str, file: str) -> None:
    path = folder(project, role) / file
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(bytes(content))
    found = follow(project, "champion", verify=True)
    assert found.problems == [f"{path} is not what was published"]
    assert [link.role for link in found.links if link.problems] == [role]


def test_a_score_that_was_bettered_by_hand_is_found(project: Project) -> None:
    path = folder(project, "evaluation") / MANIFEST
    path.write_text(path.read_text(encoding="utf-8").replace("true", "false"), encoding="utf-8")
    assert follow(project, "1", verify=True).problems == [f"{path} is not what was published"]
    version = path_of(project.registry, 1)
    version.write_text(version.read_text(encoding="utf-8").replace("desk", "desc"), "utf-8")
    assert f"{version} is not what was registered" in follow(project, "1", verify=True).problems


def test_settings_that_were_changed_and_sealed_again_do_not_fit_the_key(project: Project) -> None:
    run = folder(project, "run")
    document = json.loads((run / MANIFEST).read_text(encoding="utf-8"))
    document["origin"]["made_of"]["train"]["rank"] = 64
    write_json(run / MANIFEST, sealed(document))
    assert follow(project, "1", verify=True).problems == [
        f"{run} has a key that its inputs and settings do not have"
    ]


def test_another_dataset_in_the_place_of_the_first_is_found(project: Project) -> None:
    run = folder(project, "run")
    document = json.loads((run / MANIFEST).read_text(encoding="utf-8"))
    document["digest"] = "0" * 64
    write_json(run / MANIFEST, sealed(document))
    assert follow(project, "1", verify=True).problems == [
        f"{run / MANIFEST} is not what was published",
        f"{run} is not the run that was registered",
    ]


def test_a_file_that_was_added_is_found(project: Project) -> None:
    added = folder(project, "package") / "artifacts" / "model" / "adapter_config.json"
    added.write_text("{}", encoding="utf-8")
    assert follow(project, "1", verify=True).problems == [f"{added} was added afterwards"]


@pytest.mark.parametrize(
    ("change", "words"),
    [(lambda path: path.write_bytes(b"{}"), "is not what was read"), (Path.unlink, "is not here")],
)
def test_chats_that_are_others_by_now_are_named(
    project: Project, change: Callable[[Path], object], words: str
) -> None:
    path = project.root / "data" / "chats.jsonl"
    change(path)
    assert follow(project, "one", verify=True).problems == [f"{path} {words}"]


def test_a_folder_that_is_gone_is_named(project: Project) -> None:
    dataset = folder(project, "dataset")
    manifest = read_manifest(dataset)
    assert manifest is not None
    shutil.rmtree(dataset)
    found = follow(project, "1", verify=True)
    assert found.problems == [f"the dataset with digest {manifest.digest[:12]} is not here"]


def test_a_moved_project_keeps_its_versions_and_its_chain(project: Project) -> None:
    moved = project.root.with_name("elsewhere")
    project.root.rename(moved)
    opened = open_project(moved)
    version = champion(opened.registry)
    assert version is not None
    assert version.package.startswith(str(moved / ".hieno" / "packages"))
    found = follow(opened, "one", verify=True)
    assert (found.version, found.problems) == (1, [])


@pytest.mark.parametrize(
    ("id", "roles", "words"),
    [
        ("refused", ["request"], "; no model saw it"),
        ("untuned", ["request", "base"], "the untuned model ./base"),
        ("unknown", ["request", "version"], "9 is not in the registry any more"),
    ],
)
def test_an_answer_without_a_version_of_here_says_why(
    project: Project, home: Path, id: str, roles: list[str], words: str
) -> None:
    (project.root / "base").mkdir()
    found = follow(project, id)
    assert [link.role for link in found.links] == roles
    assert found.links[-1].text.endswith(words)


def test_an_unknown_id_is_an_error(project: Project) -> None:
    for id in ("two", "7", "desk:2", "other:1", ""):
        with pytest.raises(MissingInput) as caught:
            follow(project, id)
        assert caught.value.message == f"no answer, version or alias {id!r} is known here"


def test_the_newest_of_several_requests_with_one_id_counts(project: Project) -> None:
    found = find_request(project.endpoint.parent, "twice")
    assert found is not None
    assert (found.deployment, found.times) == ("green", 2)
    assert "; the newest of 2 with this id" in follow(project, "twice").links[0].text


def command(project: Project, *arguments: str) -> Result:
    return CliRunner().invoke(hieno, ["trace", *arguments, "--project", str(project.root)])


def test_the_command_shows_the_chain_and_ends_with_1_where_it_is_broken(project: Project) -> None:
    shown = command(project, "one")
    assert shown.exit_code == 0
    assert "BROKEN" not in shown.stdout
    whole = command(project, "one", "--verify").stdout.splitlines()
    assert whole[0].startswith("request           ")
    assert whole[1].startswith("version     ok  ")
    assert whole[1].endswith(": .hieno/registry/versions/1.json")

    chats = project.root / "data" / "chats.jsonl"
    chats.write_bytes(b"{}")
    broken = command(project, "champion", "--verify")
    assert broken.exit_code == 1
    assert broken.stdout.count("BROKEN") == 1
    assert f"-> {chats} is not what was read" in broken.stdout
    document = json.loads(command(project, "1", "--verify", "--json").stdout)
    assert document["whole"] is False
    assert [link["role"] for link in document["links"] if link["problems"]] == ["source"]


def test_the_command_names_an_unknown_id(project: Project) -> None:
    result = command(project, "nobody")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no answer, version or alias 'nobody' is known here\n")
