from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from serving import Client

from hieno.serve.body import BODY_LIMIT, parse
from hieno.serve.refusals import Refused

BEGINNING = "POST body could not be decoded as JSON: "


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"a": 1', "Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (
            b"\xef\xbb\xbf{}",
            "Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)",
        ),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8 at byte 0"),
        (b'{"a": "\\ud800"}', "half a surrogate pair (near char 7)"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number is too long"),
        (b'{"a": ' + b"[" * 10_000, "nested deeper than 32 levels (char 37)"),
        (b'{"key": 1, "key": 2}', 'the key "key" stands twice in one object'),
        (
            b"{" + b",".join(b'"%d":1' % i for i in range(100_001)) + b"}",
            "an object has more than 100000 keys",
        ),
    ],
)
def test_json_that_means_two_things_or_none_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(raw)
    assert caught.value.status == 400
    assert caught.value.message == BEGINNING + words


def test_brackets_in_texts_and_whole_surrogate_pairs_are_ordinary() -> None:
    assert (
        parse(b'{"a": "' + b"[" * 99 + b'\\"[", "b": "\\ud83d\\ude00"}')["b"] == "\N{GRINNING FACE}"
    )
    assert parse(b'{"a": 1e400}') == {"a": float("inf")}  # each field refuses what is not finite


def test_a_body_over_the_limit_is_refused_while_it_is_read(client: Client) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 100_000
            yield b"x" * 100_000

    headers = {"content-type": "application/json"}
    response = client.request("POST", "/score", content=chunks(), headers=headers)
    assert response.status_code == 413
    assert response.json() == {"message": f"The body is larger than {BODY_LIMIT} bytes."}
    assert sent <= BODY_LIMIT + 200_000


def test_an_announced_length_over_the_limit_is_refused_unread(client: Client) -> None:
    headers = {"content-type": "application/json", "content-length": str(BODY_LIMIT + 1)}
    response = client.request("POST", "/v1/chat/completions", content=b"{}", headers=headers)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
