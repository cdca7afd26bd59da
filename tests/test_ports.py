"""Ports: looked for, taken at once, opened later."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from hieno import ports
from hieno.errors import Busy, UsageError


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.port_is_free(port)
        found = ports.free_port(port)
    assert port < found < port + 100


def test_a_port_is_chosen_where_none_is_preferred() -> None:
    assert ports.port_is_free(ports.free_port())


def test_no_free_port_at_the_end_of_the_range_is_busy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 65535))
        taken.listen()
        with pytest.raises(Busy) as caught:
            ports.free_port(65535)
    assert caught.value.message == "port 65535 is taken"
    assert caught.value.hint == "name another with --port, or end what uses it"


def test_a_further_port_is_offered_only_where_the_one_before_was_lost() -> None:
    first = ports.free_port(20_000)
    offered = ports.candidates(first)
    assert next(offered) == first
    with ports.reserve(first):
        assert first < next(offered) < first + 100
    assert list(offered) == []


def test_a_reserved_port_is_nobody_elses_though_nothing_listens() -> None:
    with ports.reserve() as reserved:
        port = ports.number(reserved)
        assert not ports.port_is_free(port)
        with pytest.raises(Busy, match=f"port {port} is taken"):
            ports.reserve(port)
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0
        ports.listen(reserved)
        with socket.create_connection(("127.0.0.1", port)):
            assert not ports.port_is_free(port)
    assert ports.port_is_free(port)


def test_those_who_reserve_at_the_same_time_never_meet() -> None:
    first = ports.free_port(20_000)
    with ExitStack() as held, ThreadPoolExecutor(16) as pool:
        reserved = list(pool.map(lambda _: ports.reserve(first, tries=100), range(16)))
        numbers = [ports.number(held.enter_context(each)) for each in reserved]
        for each in reserved:
            ports.listen(each)
    assert len(set(numbers)) == 16


def test_a_port_is_taken_again_while_its_last_connections_linger() -> None:
    with ports.reserve() as reserved:
        port = ports.number(reserved)
        ports.listen(reserved)
        with socket.create_connection(("127.0.0.1", port)) as client:
            server, _ = reserved.accept()
            server.close()  # who closes first has the connection linger
            assert client.recv(1) == b""
    with ports.reserve(port) as again:
        ports.listen(again)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=f"there is no port {port}") as caught:
        ports.reserve(port)
    assert caught.value.hint == "ports are 1 to 65535"
    assert not ports.port_is_free(port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match=r"nothing can listen on 192\.0\.2\.1:8000: ") as caught:
        ports.reserve(8000, host="192.0.2.1")
    assert caught.value.hint == "name another address with --host, or another --port"
