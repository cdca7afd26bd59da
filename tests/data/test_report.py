"""What a dataset tells about itself: the page, and its chats token by token."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from preparing import chat, different, prepare, write

from hieno.data.inspection import inspect, sample, stretches
from hieno.data.statistics import _packing
from hieno.errors import BadData


def test_the_page_needs_no_network_and_tells_the_counts(tiny_model: Path, tmp_path: Path) -> None:
    rows = [
        chat("<script>alert(1)</script>", "no & never"),
        *different(9),
        "{",
        chat("x", "a@b.fi"),
    ]
    made = prepare(tiny_model, tmp_path, write(tmp_path / "a.jsonl", rows), test_size=0.1, seed=4)
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", page)
    for row in ("<td>read</td><td class=\"n\">12</td>", "<td>not-json</td><td class=\"n\">1</td>",
                "<td>email</td><td class=\"n\">1</td>"):  # fmt: skip
        assert row in page
    assert "<mark>no &amp; never&lt;|im_end|&gt;</mark>" in page


def test_supervised_tokens_are_told_apart_and_no_letter_is_lost(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = [
        chat(
            "Hyv\u00e4\u00e4 \u4f60\u597d \U0001f1eb\U0001f1ee?", "\u05e9\u05dc\u05d5\u05dd \u00bd"
        )
    ]
    source = write(tmp_path / "a.jsonl", rows)
    [shown] = inspect(tiny_model, sample(source, 3))
    joined = stretches(shown)
    assert [text for text, learnt, _ in joined if learnt] == [
        "\u05e9\u05dc\u05d5\u05dd \u00bd<|im_end|>"
    ]
    assert "\u4f60\u597d \U0001f1eb\U0001f1ee?" in joined[0][0]
    assert shown.supervised == sum(count for _, learnt, count in joined if learnt)


def test_a_chat_with_nothing_to_learn_is_refused(tiny_model: Path) -> None:
    with pytest.raises(BadData, match=r"0% of its \d+ tokens would be learnt"):
        inspect(tiny_model, [{"messages": [{"role": "user", "content": "hi"}]}])


def test_packing_counts_what_best_fit_leaves_empty() -> None:
    import numpy as np

    def filled(*lengths: int) -> float | None:
        return _packing(np.array(lengths, dtype=np.int32), 10)

    assert filled(10) == 1
    assert filled(6, 4, 7, 3) == 1
    assert filled(4, 3, 3) == 1
    assert filled(5, 1, 1, 1, 1, 1, 6, 4) == 1
    assert filled(6, 6) == 0.6
    assert filled(*[3] * 7) == 0.7
    assert filled() is None
