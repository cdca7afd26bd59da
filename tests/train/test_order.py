"""Every chat once an epoch, replayed answers in turns, and the same after an interruption."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from hieno.train.order import Order
from hieno.train.steps import replayed_each_epoch


def epochs(order: Order, count: int) -> list[list[int]]:
    rows = []
    for epoch in range(count):
        order.set_epoch(epoch)
        rows.append(list(order))
    return rows


def test_every_chat_comes_once_an_epoch_and_every_replayed_answer_in_its_turn() -> None:
    order = Order(10, 6, each_epoch=2, seed=0)
    rows = epochs(order, 3)
    assert all(len(row) == len(order) == 12 for row in rows)
    assert all(set(range(10)) <= set(row) for row in rows)
    assert Counter(chain(*rows)) == {
        **dict.fromkeys(range(10), 3),
        **dict.fromkeys(range(10, 16), 1),
    }
    assert rows[0] != rows[1]


def test_where_turns_do_not_come_out_even_none_is_learnt_twice_before_all_were_once() -> None:
    rows = epochs(Order(0, 5, each_epoch=2, seed=3), 5)
    seen = Counter(chain(*rows))
    assert set(seen.values()) == {2}
    assert len(set(chain(*rows[:2]))) == 4


def test_an_epoch_has_one_order_whatever_was_drawn_before_and_a_seed_its_own() -> None:
    one = Order(20, 4, each_epoch=4, seed=1)
    epochs(one, 2)
    one.set_epoch(1)
    again = Order(20, 4, each_epoch=4, seed=1)
    again.set_epoch(1)
    assert list(one) == list(again)
    assert list(Order(20, 4, each_epoch=4, seed=2)) != list(Order(20, 4, each_epoch=4, seed=1))


@pytest.mark.parametrize(
    ("visits", "epochs", "each_epoch"),
    [(0, 3, 287), (1, 3, 96), (2, 3, 192), (3, 3, 287), (5, 3, 287), (1, 0.5, 287)],
)
def test_visits_are_spread_over_the_epochs(visits: float, epochs: float, each_epoch: int) -> None:
    assert replayed_each_epoch(287, visits=visits, epochs=epochs) == each_epoch
