"""Chats are understood in the forms in which people have them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from preparing import chat, different, prepare, write

from hieno.data.sources import files, hub_name
from hieno.errors import MissingInput

WANTED = [chat("When do you open?", "At nine."), chat("And close?", "At five, mostly.")]


def sharegpt() -> list[dict[str, Any]]:
    names = {"user": "human", "assistant": "gpt"}
    return [
        {
            "conversations": [
                {"from": names[m["role"]], "value": m["content"]} for m in c["messages"]
            ]
        }
        for c in WANTED
    ]


def pairs(question: str, reply: str) -> list[dict[str, str]]:
    return [
        {question: c["messages"][0]["content"], reply: c["messages"][1]["content"]} for c in WANTED
    ]


def jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: list[dict[str, Any]], path: Path) -> Path:
    import pyarrow as pa
    from pyarrow import parquet as library

    library.write_table(pa.Table.from_pylist(rows), path)
    return path


def zstd(raw: bytes) -> bytes:
    import pyarrow as pa

    return bytes(pa.Codec("zstd").compress(raw, asbytes=True))


CSV = 'question,reply\r\nWhen do you open?,At nine.\r\nAnd close?,"At five, mostly."\r\n'
TABS = "prompt\tresponse\r\nWhen do you open?\tAt nine.\r\nAnd close?\tAt five, mostly.\r\n"
FORMS = {
    "messages.jsonl": jsonl(WANTED),
    "mark.jsonl": b"\xef\xbb\xbf" + jsonl(WANTED),
    "share.jsonl": jsonl(sharegpt()),
    "share.json": json.dumps(sharegpt(), indent=1).encode(),
    "alpaca.jsonl": jsonl(pairs("instruction", "output")),
    "alpaca.json": b"\xef\xbb\xbf " + json.dumps(pairs("instruction", "output")).encode(),
    "pairs.jsonl": jsonl(pairs("prompt", "completion")),
    "table.csv": b"\xef\xbb\xbf" + CSV.encode(),
    "semicolons.csv": b"question;answer\nWhen do you open?;At nine.\nAnd close?;At five, mostly.\n",
    "tabs.tsv": b"prompt\tresponse\nWhen do you open?\tAt nine.\nAnd close?\tAt five, mostly.\n",
    "packed.jsonl.gz": gzip.compress(jsonl(WANTED)),
    "packed.jsonl.zst": zstd(jsonl(WANTED)),
    "packed.csv.gz": gzip.compress(CSV.encode()),
    "packed-unsaid.jsonl": gzip.compress(jsonl(WANTED)),
    "not-packed.jsonl.gz": jsonl(WANTED),
    "unicode-text.csv": TABS.encode("utf-16"),
    "wide.jsonl": jsonl(WANTED).decode().encode("utf-16"),
    "capitals.csv": CSV.replace("question,reply", "Question,REPLY").encode(),
    "carriage.csv": CSV.replace("\r\n", "\r").encode(),
    "one-over-lines.jsonl": b"\n".join(json.dumps(row, indent=2).encode() for row in WANTED),
    "one-over-lines.json": b"".join(json.dumps(row, indent=2).encode() for row in WANTED),
    "list-over-lines.jsonl": json.dumps(WANTED, indent=2).encode(),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_recognised_and_read(tiny_model: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FORMS[name])
    made = prepare(tiny_model, tmp_path, path)
    assert made.facts["rejected_by_code"] == {}
    found = made.rows("train") + made.rows("test")
    assert sorted(found, key=str) == sorted(WANTED, key=str)


def test_parquet_is_read_with_lists_and_missing_fields(tiny_model: Path, tmp_path: Path) -> None:
    weighted = chat("a", "b", "c", "d")
    weighted["messages"][1]["weight"] = 0
    path = parquet([*WANTED, weighted], tmp_path / "chats.parquet")
    made = prepare(tiny_model, tmp_path, path)
    found = made.rows("train") + made.rows("test")
    assert sorted(found, key=str) == sorted([*WANTED, weighted], key=str)


def test_the_mapping_is_told_with_three_rows(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(FORMS["table.csv"])
    made = prepare(tiny_model, tmp_path, path)
    assert made.told[:3] == [
        "t.csv: prompt-completion (question as prompt, reply as completion)",
        "  row 2  user: When do you open?  assistant: At nine.",
        "  row 3  user: And close?  assistant: At five, mostly.",
    ]
    assert made.facts["sources"] == {
        "t.csv": "prompt-completion (question as prompt, reply as completion)"
    }


def test_files_alike_are_told_a_few_times_and_empty_ones_always(
    tiny_model: Path, tmp_path: Path
) -> None:
    paths = [write(tmp_path / f"{n}.jsonl", different(1, start=n)) for n in range(9)]
    made = prepare(tiny_model, tmp_path, [*paths, write(tmp_path / "none.csv", [])])
    told = [line for line in made.told if line.startswith(("0", "5", "8", "none"))]
    assert told == ["0.jsonl: messages (messages as messages)", "none.csv: no rows"]
    assert len(made.facts["sources"]) == 10


def test_the_first_row_of_each_code_is_told_with_its_remedy(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = [*different(3), "{", chat("x"), "}"]
    made = prepare(tiny_model, tmp_path, write(tmp_path / "a.jsonl", rows))
    start = made.told.index(
        f"set aside, the first of each kind; all stand in {made.folder / 'rejected.jsonl'}"
    )
    first, second, report = made.told[start + 1 :]
    assert first.startswith("  a.jsonl:4: not-json: not JSON: Expecting property name")
    assert first.endswith(". To do: each line is one JSON object in UTF-8")
    assert second == (
        "  a.jsonl:5: no-reply: the chat has no assistant turn."
        " To do: the last message must be the assistant's"
    )
    assert report == f"report: {made.folder / 'report.html'}"


def test_columns_of_any_name_can_be_named(tiny_model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", pairs("kysymys", "vastaus"))
    made = prepare(
        tiny_model,
        tmp_path,
        path,
        format="prompt-completion",
        columns={"prompt": "kysymys", "completion": "vastaus"},
    )
    assert made.facts["read"] == 2
    assert made.facts["rejected_by_code"] == {}


def test_alpaca_joins_instruction_and_input(tiny_model: Path, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", [{"instruction": "Translate.", "input": "hei", "output": "hello"}]
    )
    made = prepare(tiny_model, tmp_path, path)
    assert made.asked("train") == ["Translate.\n\nhei"]


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_damaged_file_gives_what_stood_before_the_damage(
    tiny_model: Path, tmp_path: Path, kind: str
) -> None:
    # noise does not compress, so that half the bytes are about half the rows
    import random

    letters = random.Random(0)  # noqa: S311
    rows = [chat(f"{i} {letters.getrandbits(4000):x}", "fine") for i in range(400)]
    raw = jsonl(rows)
    path = tmp_path / f"cut.jsonl.{kind}"
    whole = gzip.compress(raw) if kind == "gz" else zstd(raw)
    path.write_bytes(whole[: len(whole) // 2])
    made = prepare(tiny_model, tmp_path, path, max_length=4096)
    assert made.facts["rows"]["train"] > 0 or kind == "zst"
    assert made.codes()[-1][1] == "broken-file"


def test_a_csv_row_with_too_many_cells_is_set_aside(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("prompt,completion\na,b\nc,d,e\n", encoding="utf-8")
    made = prepare(tiny_model, tmp_path, path)
    [reject] = made.rows("rejected")
    assert (reject["line"], reject["code"]) == (3, "bad-csv")
    assert reject["problem"] == "3 cells, and the header has 2"


@pytest.mark.parametrize(
    ("name", "raw", "line", "code", "problem"),
    [
        ("t.csv", b"prompt,completion,prompt\na,b,c\n", 1, "bad-csv", "two columns are named 'pr"),
        ("t.csv", b'prompt,completion\n"a,b\nc,d\n', 2, "bad-csv", "a quote that opens here is"),
        ("t.csv", b"a,b\nc,d\n", 2, "no-messages", "the row has no 'messages', it has 'a', 'b'"),
        ("t.xlsx", b"PK\x03\x04 more", 1, "not-text", "the file is a workbook or another zip"),
        ("t.json", b"[] 7", 1, "not-json", "there is more after the list"),
        ("t.jsonl", b'{"prompt": "a", }\n', 1, "not-json", "not JSON: "),
        ("t.parquet", b"", 1, "broken-file", "the file ends here: "),
        ("t.csv", b"\xff\xfea\x00,", 1, "broken-file", "the file ends here: "),
    ],
)
def test_a_file_that_cannot_be_used_says_why_in_one_line(
    tiny_model: Path, tmp_path: Path, name: str, raw: bytes, line: int, code: str, problem: str
) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    good = write(tmp_path / "good.jsonl", different(1))
    [reject] = prepare(tiny_model, tmp_path, [good, path]).rows("rejected")
    assert (reject["file"], reject["line"], reject["code"]) == (name, line, code)
    assert reject["problem"].startswith(problem)


@pytest.mark.parametrize(
    ("turns", "code"),
    [
        ([("Human", "a"), ("GPT", "b")], None),
        ([("human", "a"), ("bing", "b")], "bad-role"),
        ([("human", "a"), ("function_call", "b"), ("observation", "c"), ("gpt", "d")], "tool-turn"),
        ([("gpt", "a"), ("human", "b"), ("gpt", "c")], "bad-order"),
    ],
)
def test_sharegpt_roles_are_known_in_any_case_and_odd_ones_named(
    tiny_model: Path, tmp_path: Path, turns: list[tuple[str, str]], code: str | None
) -> None:
    good = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}]}
    odd = {"conversations": [{"from": role, "value": text} for role, text in turns]}
    made = prepare(tiny_model, tmp_path, write(tmp_path / "s.jsonl", [good, odd]))
    assert made.codes() == ([(2, code)] if code else [])


def test_a_csv_that_is_not_utf8_is_named(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"prompt,completion\na,b\nc,caf\xe9\n")
    made = prepare(tiny_model, tmp_path, path)
    assert made.codes() == [(3, "not-utf8")]


def test_a_row_beyond_every_size_is_set_aside_unread(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hieno.data import sources

    monkeypatch.setattr(sources, "LARGEST_ROW", 1000)
    rows = [chat("a", "b"), chat("c", "x" * 5000), chat("d", "e")]
    made = prepare(tiny_model, tmp_path, write(tmp_path / "c.jsonl", rows))
    assert made.codes() == [(2, "too-large")]
    assert made.facts["read"] == 3


def test_an_array_longer_than_what_is_read_at_once_keeps_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hieno.data import sources

    monkeypatch.setattr(sources, "_PIECE", 7)
    path = tmp_path / "a.json"
    path.write_text('[\n{"a": 12345},\n\n {"a": [1, 2]}, 77\n]', encoding="utf-8")
    found = [(record.line, record.value) for record in sources.read_file(path)]
    assert found == [(2, {"a": 12345}), (4, {"a": [1, 2]}), (4, 77)]


def test_an_array_without_an_end_is_named(tmp_path: Path) -> None:
    from hieno.data.sources import read_file

    path = tmp_path / "a.json"
    path.write_text('[{"a": 1},\n{"a": 2', encoding="utf-8")
    good, bad = read_file(path)
    assert good.value == {"a": 1}
    assert (bad.line, bad.code) == (2, "not-json")


def test_a_folder_and_a_glob_name_their_files_in_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.csv", "notes.txt", "deep/c.jsonl.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path.name for path in files(tmp_path, key="data.source")]
    assert found == ["a.csv", "b.jsonl", "c.jsonl.gz"]
    assert files(tmp_path / "*.jsonl", key="data.source") == [tmp_path / "b.jsonl"]
    with pytest.raises(MissingInput) as caught:
        files(tmp_path / "*.parquet", key="data.source")
    assert caught.value.message == f"data.source: no file matches {tmp_path / '*.parquet'}"
    with pytest.raises(MissingInput, match=r"data\.source: there is no file"):
        files(tmp_path / "none.jsonl", key="data.source")


def test_many_files_are_one_set_with_the_place_of_each_row(
    tiny_model: Path, tmp_path: Path
) -> None:
    one = write(tmp_path / "a.jsonl", different(5))
    two = write(tmp_path / "b.jsonl", [different(1)[0], "{"])
    made = prepare(tiny_model, tmp_path, [one, two])
    rejects = [(r["file"], r["line"], r["problem"][:28]) for r in made.rows("rejected")]
    assert rejects[0] == ("b.jsonl", 1, "the same chat as in a.jsonl:1"[:28])
    assert rejects[1][:2] == ("b.jsonl", 2)


def test_a_hub_set_is_named_by_its_prefix_or_with_a_split(tmp_path: Path) -> None:
    assert hub_name("hf:acme/chats", split=None, root=tmp_path) == "acme/chats"
    assert hub_name("acme/chats", split="train", root=tmp_path) == "acme/chats"
    assert hub_name("acme/chats", split=None, root=tmp_path) is None
    (tmp_path / "acme" / "chats").mkdir(parents=True)
    assert hub_name("acme/chats", split="train", root=tmp_path) is None
