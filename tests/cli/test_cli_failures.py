"""What failed commands say, exactly, and their exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cli_running import Run
from failing_commands import WAYS

from hieno.cli import commands

HERE = Path(__file__).parent

pytestmark = pytest.mark.usefixtures("_failing")


@pytest.fixture
def _failing(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = commands.Entry("failing_commands:fail", "Fail in one way.")
    monkeypatch.setitem(commands.COMMANDS, "fail", entry)  # type: ignore[arg-type]


def start(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    script = (
        "from hieno.cli import commands\n"
        "commands.COMMANDS['fail'] = commands.Entry('failing_commands:fail', 'Fail in one way.')\n"
        "commands.hieno.main()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


@pytest.mark.parametrize(
    ("way", "stderr", "code"),
    [
        (
            "bad-row",
            "error: chats.jsonl:17: role is 'bot'\nhint: use assistant\n",
            2,
        ),
        ("busy", "error: port 8000 is taken\nhint: name another with --port\n", 3),
        (
            "gate",
            "error: the loss rose from 1.2 to 1.4\nhint: train with a smaller learning rate\n",
            5,
        ),
        (
            "stopped",
            "error: stopped after step 12\nhint: type the same command to go on\n",
            130,
        ),
        (
            "full",
            "error: no space left on the disk of /data/model\n"
            "hint: free some space, then type the same command again\n",
            3,
        ),
        ("interrupt", "\ninterrupted: type the same command to go on\n", 130),
    ],
)
def test_a_failure_is_two_lines_and_its_code(run: Run, way: str, stderr: str, code: int) -> None:
    result = run("fail", way)
    assert (result.stdout, result.stderr, result.exit_code) == ("", stderr, code)


@pytest.mark.parametrize(
    ("way", "error"),
    [
        (
            "busy",
            {
                "type": "Busy",
                "message": "port 8000 is taken",
                "hint": "name another with --port",
                "exit_code": 3,
            },
        ),
        (
            "interrupt",
            {
                "type": "Interrupted",
                "message": "interrupted",
                "hint": "type the same command to go on",
                "exit_code": 130,
            },
        ),
        (
            "unheard-of",
            {
                "type": "UsageError",
                "message": f"invalid value for '{{{'|'.join(WAYS)}}}': 'unheard-of' is not one of "
                + ", ".join(map(repr, WAYS)),
                "hint": "`hieno fail --help` shows what is possible",
                "exit_code": 2,
            },
        ),
    ],
)
def test_with_json_a_failure_is_one_document_on_stdout(
    run: Run, way: str, error: dict[str, object]
) -> None:
    result = run("fail", way, "--json")
    assert json.loads(result.stdout) == {"error": error}
    assert result.stderr.strip() == ""
    assert result.exit_code == error["exit_code"]


def test_a_missing_command_with_json_is_a_document_too(run: Run) -> None:
    result = run("nothing", "--json")
    assert json.loads(result.stdout)["error"]["message"] == "no such command 'nothing'"
    assert result.exit_code == 2


def test_an_unexpected_error_is_named_and_its_traceback_is_private(run: Run, project: Path) -> None:
    (project / ".hieno").mkdir()
    log = project / ".hieno" / "error.log"
    result = run("fail", "key-error")
    assert result.stderr == (
        "error: KeyError: 'a key that\\nis not there' (this is a defect of hieno)\n"
        f"hint: the traceback is in {log}\n"
    )
    assert result.exit_code == 1
    text = log.read_text(encoding="utf-8")
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("KeyError: 'a key that\\nis not there'\n")
    if os.name != "nt":
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_outside_a_project_the_traceback_is_in_the_temporary_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = run("fail", "silent")
    first, second = result.stderr.splitlines()
    assert first == "error: RuntimeError (this is a defect of hieno)"
    found = re.fullmatch(r"hint: the traceback is in (.*hieno-error-.*\.log)", second)
    assert found is not None
    log = Path(found[1])
    assert log.parent == tmp_path
    if os.name != "nt":
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_the_traceback_is_shown_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIENO_DEBUG", "1")
    result = run("fail", "busy")
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert result.stderr.endswith(
        "hieno.errors.Busy: port 8000 is taken\n"
        "error: port 8000 is taken\nhint: name another with --port\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C another way")
def test_ctrl_c_ends_a_real_command_with_130() -> None:
    with start("fail", "sleep") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "asleep\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr.read() == "\ninterrupted: type the same command to go on\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_reader_who_leaves_is_no_reason_to_complain() -> None:
    with start("fail", "talk") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
@pytest.mark.parametrize("arguments", [["--version"], ["fail", "print"]])
def test_a_reader_who_is_gone_before_a_short_answer_is_none_either(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with start(*arguments, stdout=writing) as process:
        os.close(writing)
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full disk to write to")
def test_a_full_disk_behind_stdout_is_said() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = start("--version", stdout=full.fileno())
        _, stderr = process.communicate(timeout=30)
    assert stderr == (
        "error: no space left on the disk\n"
        "hint: free some space, then type the same command again\n"
    )
    assert process.returncode == 3
