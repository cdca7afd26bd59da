from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hieno.serve.detokenise import Detokeniser, StopStrings
from hieno.serve.model import Model

HALF = "\N{REPLACEMENT CHARACTER}"
TEXTS = [
    "Paris.",
    "näköala ääliö",
    "日本語のテキスト",
    "👩‍👩‍👧 and 🏴󠁧󠁢󠁳󠁣󠁴󠁿!",
    "e\u0301 \u202eabc",
    "\n\n  x  \n",
]
relaxed = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def pieces(tokenizer: Any, ids: list[int]) -> list[str]:
    detokeniser = Detokeniser(tokenizer)
    return [*(detokeniser.push(token_id) for token_id in ids), detokeniser.finish()]


def byte_fallback() -> Any:
    """A tokenizer like Phi-3's: words begin with a low line, unknown characters are bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a"]
    inner = Tokenizer(
        models.BPE(
            vocab={word: i for i, word in enumerate(words)},
            merges=[("▁", "a")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_add_up_and_hold_no_half_character(model: Model, text: str) -> None:
    ids = model.tokenizer.encode(text, add_special_tokens=False)
    found = pieces(model.tokenizer, ids)
    assert "".join(found) == text
    assert not any(HALF in piece for piece in found)


@pytest.mark.parametrize("text", [*TEXTS, "a a b", "ab 日 a"])
def test_pieces_add_up_with_byte_fallback(text: str) -> None:
    tokenizer = byte_fallback()
    ids = tokenizer.encode(text, add_special_tokens=False)
    found = pieces(tokenizer, ids)
    assert "".join(found) == tokenizer.decode(ids) == text
    assert not any(HALF in piece for piece in found)


def test_half_a_character_at_the_end_is_shown_once(model: Model) -> None:
    ids = model.tokenizer.encode("x日", add_special_tokens=False)[:-1]
    found = pieces(model.tokenizer, ids)
    assert "".join(found) == "x" + HALF
    assert found[-1] == HALF


def test_an_emoji_comes_whole_with_its_last_byte(model: Model) -> None:
    ids = model.tokenizer.encode("👍", add_special_tokens=False)
    assert len(ids) > 1
    assert pieces(model.tokenizer, ids) == [*[""] * (len(ids) - 1), "👍", ""]


@relaxed
@given(ids=st.lists(st.integers(min_value=3, max_value=511), max_size=60))
def test_any_tokens_add_up_to_their_decoding(model: Model, ids: list[int]) -> None:
    assert "".join(pieces(model.tokenizer, ids)) == model.tokenizer.decode(ids)


# The bytes of "a" and "b": beside a broken byte, decoding the whole run swallows them.
LETTERS = (1 + ord("a"), 1 + ord("b"))


@relaxed
@given(data=st.lists(st.integers(1, 260).filter(lambda n: n not in LETTERS), max_size=60))
def test_any_tokens_with_byte_fallback_never_repeat_text(data: list[int]) -> None:
    tokenizer = byte_fallback()
    found = "".join(pieces(tokenizer, data))
    # A run of broken bytes decodes differently as a whole; every real character comes once.
    assert found.count("a") == tokenizer.decode(data).count("a")
    assert found.count("b") == tokenizer.decode(data).count("b")


@relaxed
@given(
    text=st.text(alphabet="ab<|", max_size=40),
    stop=st.lists(st.text(alphabet="ab<|", min_size=1, max_size=5), min_size=1, max_size=4),
    data=st.data(),
)
def test_no_part_of_a_stop_string_is_ever_let_through(
    text: str, stop: list[str], data: st.DataObject
) -> None:
    ends = [at for word in stop if (at := text.find(word)) >= 0]
    stops, given_so_far, place = StopStrings(stop), "", 0
    while place < len(text) and not stops.found:
        step = data.draw(st.integers(min_value=1, max_value=6))
        given_so_far += stops.push(text[place : place + step])
        place += step
        assert text.startswith(given_so_far)
        assert not any(word in given_so_far for word in stop)
    if stops.found:
        # What had arrived decides: a longer look might have found another word further left.
        arrived = text[:place]
        first = min(at for word in stop if (at := arrived.find(word)) >= 0)
        assert given_so_far == text[:first]
    else:
        assert not ends
        assert given_so_far + stops.finish() == text
