"""A function over many tasks on all cores: results in order, and never many tasks at once."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

from hieno.errors import TryLater

Task = TypeVar("Task")
Result = TypeVar("Result")

FEW = 8  # tasks that are done before a process of our own has started


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    setup: Callable[..., None],
    arguments: tuple[object, ...],
    workers: int,
) -> Iterator[Result]:
    """Yield the result of each task in the order of the tasks.

    `setup(*arguments)` runs once in each process. A few tasks, or one worker, need no process but
    this one. At most two tasks for each worker are in memory.
    """
    waiting = iter(tasks)
    first = list(islice(waiting, FEW))
    if workers == 1 or len(first) < FEW:
        if first:
            setup(*arguments)
        yield from map(function, chain(first, waiting))
        return
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    pending: deque[Future[Result]] = deque()
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),  # threads of the libraries do not survive a fork
        initializer=_begin,
        initargs=(setup, arguments),
    )
    try:
        for task in chain(first, waiting):
            pending.append(pool.submit(function, task))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool:
        raise TryLater(
            "a process that prepares the chats was killed, perhaps for want of memory",
            hint="type the same command again, it goes on from there; fewer processes need less:"
            " --workers 1",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(setup: Callable[..., None], arguments: tuple[object, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    setup(*arguments)


def _end_with_parent() -> None:
    """Leave when the process that gives the tasks has died: nobody else would tell."""
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
