"""Secrets and personal data are found by what proves them, and leave when that is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from preparing import chat, prepare, write

from hieno.data.privacy import masked, scan

KEY = "AKIA" + "ABCDEFGHIJKLMNOP"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("write to eeva.l@example.org today", ["email"]),
        ("call +358 40 123 4567 or 040 123 4567", ["phone", "phone"]),
        ("call (020) 7946-0958 or 555-123-4567", ["phone", "phone"]),
        ("card 4111 1111 1111 1111", ["card"]),
        ("card 4111 1111 1111 1112", []),
        ("FI21 1234 5600 0007 85", ["iban"]),
        ("DE89 3704 0044 0532 0130 00", ["iban"]),
        ("DE88 3704 0044 0532 0130 00", []),
        (f"aws {KEY}", ["aws-key"]),
        ("ghp_" + "a1" * 18, ["github-token"]),
        ("sk-" + "a1" * 20, ["api-key"]),
        ("hf_" + "aB" * 17, ["hub-token"]),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", ["private-key"]),
        ("postgres://me:hunter2@db/x", ["password"]),
        ("AccountKey=" + "A" * 86 + "==", ["azure-key"]),
        ("on 2024-01-02 at 10:20, 47 of 1346 objects, 3.14159265358979, 192.168.100.200", []),
        ("sk-learn and risk-free, user@home, 12345678", []),
    ],
)
def test_what_is_found(text: str, kinds: list[str]) -> None:
    assert [find.kind for find in scan(text)] == kinds


def test_a_find_is_replaced_by_its_kind() -> None:
    text = f"key {KEY}, mail a@b.fi."
    assert masked(text, scan(text)) == "key [aws-key], mail [email]."


def test_finds_are_reported_without_their_text(tiny_model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [chat("mail?", "a@b.fi"), chat("key?", f"it is {KEY}")])
    made = prepare(tiny_model, tmp_path, source)
    assert made.facts["found"] == {"email": 1, "aws-key": 1}
    finds = made.rows("findings")
    assert finds[1] == {
        "file": "a.jsonl", "line": 2, "where": "messages[1]", "family": "secret",
        "kind": "aws-key", "done": "report",
    }  # fmt: skip
    assert made.facts["rows"]["rejected"] == 0


def test_secrets_can_be_masked_and_personal_data_dropped(tiny_model: Path, tmp_path: Path) -> None:
    rows = [chat("mail?", "a@b.fi"), chat("key?", f"it is {KEY}")]
    source = write(tmp_path / "a.jsonl", rows)
    made = prepare(tiny_model, tmp_path, source, secrets="mask", personal="drop")
    assert made.rows("train")[0]["messages"][1]["content"] == "it is [aws-key]"
    [reject] = made.rows("rejected")
    assert reject["code"] == "personal-data"
    assert reject["problem"] == "it holds email in messages[1]"
    assert reject["text"] == ""
