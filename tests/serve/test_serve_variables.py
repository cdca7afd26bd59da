"""A container whose command nobody can change is told by variables what it serves, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hieno.serve import __main__ as command
from hieno.serve import server


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server was started with."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(server, "serve", lambda root, **given: found.update(given, root=root))
    for name, value in {
        "HIENO_NAME": "books",
        "HIENO_ALIASES": "azure,blue",
        "HIENO_LINEAGE": '{"model_version": "books:7"}',
        "HIENO_SERVE_MAX_NEW_TOKENS": "99",
    }.items():
        monkeypatch.setenv(name, value)
    return found


def test_variables_stand_in_for_flags(served: dict[str, Any], tmp_path: Path) -> None:
    assert command.main([str(tmp_path), "--port", "5001"]) == 0
    assert (served["name"], served["aliases"]) == ("books", ["azure", "blue"])
    assert served["headers"] == {"hieno-model-version": "books:7"}
    assert served["settings"].max_new_tokens == 99


def test_a_flag_wins_over_a_variable(served: dict[str, Any], tmp_path: Path) -> None:
    flags = ["--name", "mine", "--max-new-tokens", "7"]
    assert command.main([str(tmp_path), "--port", "5001", *flags]) == 0
    assert (served["name"], served["settings"].max_new_tokens) == ("mine", 7)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HIENO_LINEAGE", "{", "HIENO_LINEAGE is not a JSON object"),
        ("HIENO_LINEAGE", "[]", "HIENO_LINEAGE is not a JSON object"),
        ("HIENO_SERVE_MAX_NEW_TOKENS", "0", "--max-new-tokens: Input should be greater than"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(
    served: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(name, value)
    assert command.main([str(tmp_path), "--port", "5001"]) != 0
    assert message in capsys.readouterr().err
    assert served == {}
