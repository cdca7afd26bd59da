"""What a guest pays for an answer, and when the rest is given back."""

from __future__ import annotations

import pytest

from hieno.endpoint.incoming import Refused
from hieno.endpoint.page.questions import NO_TOKENS, paid, read
from hieno.endpoint.page.visitors import Visitor

QUESTION = read(
    {"who": "tuned", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 512}, most=512
)


def guest(requests: int = 2, tokens: int = 1000) -> Visitor:
    return Visitor("token", "code", "key", 0.0, requests, tokens)


def test_what_was_not_used_is_back_before_the_reader_hears_of_the_end() -> None:
    visitor = guest()
    with paid(visitor, QUESTION) as account:
        assert (visitor.requests, visitor.tokens) == (1, 488)
        account.count(200, b'data: {"choices": [{"delta": {"content": "one"}}]}\n\n')
        account.count(200, b'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\ndata: [DO')
        assert (visitor.requests, visitor.tokens) == (1, 998)
    assert (visitor.requests, visitor.tokens) == (1, 998)


def test_an_answer_that_ends_early_costs_what_was_written() -> None:
    visitor = guest()
    with paid(visitor, QUESTION) as account:
        account.count(200, b'data: {"choices": [{"delta": {"content": "one"}}]}\n\n')
    assert (visitor.requests, visitor.tokens) == (1, 999)


def test_a_question_that_a_container_refuses_costs_nothing_before_the_reader_hears_of_it() -> None:
    visitor = guest()
    with paid(visitor, QUESTION) as account:
        account.count(400, b'{"error": {"message": "too long"}}')
        assert (visitor.requests, visitor.tokens) == (2, 1000)
    assert (visitor.requests, visitor.tokens) == (2, 1000)


def test_a_question_that_was_refused_costs_nothing() -> None:
    visitor = guest()
    with pytest.raises(Refused), paid(visitor, QUESTION):
        raise Refused(NO_TOKENS)
    assert (visitor.requests, visitor.tokens) == (2, 1000)
