"""`hieno init` and `hieno doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_running import Run

from hieno import config, doctor
from hieno.doctor import Finding
from hieno.scaffold import init as make


def test_init_writes_a_project_that_is_valid_and_says_what_is_next(
    run: Run, tmp_path: Path
) -> None:
    result = run("init", "library")
    assert result.stdout == (
        "wrote library/.gitignore\nwrote library/data/chats.jsonl\nwrote library/hieno.yaml\n"
    )
    assert result.stderr == "next: put your chats into it, then `cd library && hieno up`\n"
    assert result.exit_code == 0
    resolved = config.load(tmp_path / "library" / "hieno.yaml", environment={})
    assert (resolved.config.name, resolved.config.model) == ("library", "phi-3.5-mini")
    assert resolved.config.endpoint.name == "library"
    assert run("doctor", "--project", "library").exit_code == 0


def test_the_example_is_three_chats_that_end_with_an_answer(tmp_path: Path) -> None:
    make(tmp_path)
    lines = (tmp_path / "data" / "chats.jsonl").read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line)["messages"] for line in lines]
    assert len(chats) == 3
    assert {chat[-1]["role"] for chat in chats} == {"assistant"}
    assert {message["role"] for chat in chats for message in chat} == {
        "system",
        "user",
        "assistant",
    }


def test_the_first_line_names_a_schema_that_is_there(tmp_path: Path) -> None:
    make(tmp_path)
    first = (tmp_path / "hieno.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=.hieno/schema.json"
    written = json.loads((tmp_path / ".hieno" / "schema.json").read_text(encoding="utf-8"))
    assert written == config.schema()
    assert (tmp_path / ".hieno" / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_small_and_large_models_get_what_suits_them(tmp_path: Path) -> None:
    found = {}
    for model in ("demo", "phi-4-mini"):
        make(tmp_path / model, model=model)
        made = config.load(tmp_path / model / "hieno.yaml", environment={}).config
        found[model] = (made.train.learning_rate, made.train.batch_size, made.package.weights)
    assert found == {"demo": (2e-3, 12, "fp32"), "phi-4-mini": (2e-4, 8, "int8")}


def test_a_project_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    run("init", "library")
    mine = tmp_path / "library" / "hieno.yaml"
    mine.write_text("name: mine\n", encoding="utf-8")
    result = run("init", "library", "--model", "demo")
    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr == (
        "error: library/hieno.yaml is there already\n"
        "hint: edit it, or name another folder: `hieno init library-2`\n"
    )
    assert mine.read_text(encoding="utf-8") == "name: mine\n"


def test_chats_and_gitignore_that_are_there_are_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    chats = tmp_path / "data" / "chats.jsonl"
    chats.write_text("mine\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("mine\n", encoding="utf-8")
    result = run("init", ".", "--name", "books")
    assert result.stdout == "wrote hieno.yaml\n"
    assert result.stderr == "next: put your chats into it, then `hieno up`\n"
    assert chats.read_text(encoding="utf-8") == "mine\n"
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8") == "mine\n"


def test_own_chats_are_used_where_they_are(run: Run, tmp_path: Path) -> None:
    (tmp_path / "my chats #1.jsonl").write_text("{}\n", encoding="utf-8")
    result = run("init", "library", "--data", "my chats #1.jsonl")
    assert result.stdout == "wrote library/.gitignore\nwrote library/hieno.yaml\n"
    made = config.load(tmp_path / "library" / "hieno.yaml", environment={}).config
    assert made.data.source == str(tmp_path.resolve() / "my chats #1.jsonl")
    inside = tmp_path / "other" / "chats.jsonl"
    inside.parent.mkdir()
    inside.write_text("{}\n", encoding="utf-8")
    run("init", "other", "--data", "other/chats.jsonl")
    made = config.load(tmp_path / "other" / "hieno.yaml", environment={}).config
    assert made.data.source == "chats.jsonl"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere.jsonl"], "there is no file nowhere.jsonl"),
        (["--model", "./nowhere"], "there is no model folder ./nowhere"),
        (
            ["--name", "7 days"],
            "2 problems in the configuration\n"
            "command line: endpoint.name: string should match pattern "
            "'^[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*$' (it is '7 days')\n"
            "command line: name: string should match pattern "
            "'^[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*$' (it is '7 days')",
        ),
    ],
)
def test_nothing_is_written_where_something_is_wrong(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = run("init", "library", *arguments)
    assert result.stderr.startswith(f"error: {message}\nhint: ")
    assert result.exit_code == 2
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Library!", "My-Library"),
        ("2024_books", "books"),
        ("ab", "my-model"),
        ("äö", "my-model"),
        ("x" * 40, "x" * 32),
        ("a" * 31 + "-b", "a" * 31),
        ("no", "my-model"),
        ("yes", "yes"),
    ],
)
def test_the_name_comes_from_the_folder_as_far_as_it_can(
    tmp_path: Path, folder: str, name: str
) -> None:
    make(tmp_path / folder)
    assert config.load(tmp_path / folder / "hieno.yaml", environment={}).config.name == name


def test_a_model_folder_is_written_so_that_it_is_found_from_inside(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "weights").mkdir()
    run("init", "library", "--model", "./weights")
    made = config.load(tmp_path / "library" / "hieno.yaml", environment={}).config
    assert made.model == (tmp_path / "weights").resolve().as_posix()


def test_init_as_json_lists_the_files(run: Run) -> None:
    assert json.loads(run("init", "library", "--json").stdout) == {
        "files": ["library/.gitignore", "library/data/chats.jsonl", "library/hieno.yaml"]
    }


def test_doctor_prints_a_table_and_is_content(run: Run) -> None:
    result = run("doctor")
    assert [line.split()[1] for line in result.stdout.splitlines() if line[:2] == "ok"][:3] == [
        "python",
        "packages",
        "uv",
    ]
    assert "\x1b" not in result.stdout
    assert result.exit_code == 0


FINDINGS = [
    Finding("uv", "ok", "/bin/uv"),
    Finding("memory", "warn", "2 GB free", "close something"),
    Finding("disk", "fail", "0.1 GB free", "free some space"),
]


def test_doctor_shows_remedies_and_fails_with_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check", lambda folder: FINDINGS)
    result = run("doctor")
    assert result.stdout == (
        "ok    uv      /bin/uv\n"
        "warn  memory  2 GB free\n"
        "              -> close something\n"
        "fail  disk    0.1 GB free\n"
        "              -> free some space\n"
    )
    assert result.exit_code == 2


def test_doctor_as_json_tells_every_finding(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check", lambda folder: FINDINGS[:2])
    result = run("doctor", "--json")
    assert json.loads(result.stdout) == {
        "ok": True,
        "findings": [
            {"name": "uv", "state": "ok", "text": "/bin/uv", "remedy": ""},
            {
                "name": "memory",
                "state": "warn",
                "text": "2 GB free",
                "remedy": "close something",
            },
        ],
    }
    assert result.exit_code == 0
