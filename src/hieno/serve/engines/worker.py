"""One thread that owns a model, and the bridge from it to any number of waiting coroutines.

An engine only has to say how requests enter, how they leave and what one step yields
(`Backend`); the thread, the queues and cancellation are here, once.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hieno.serve.engines import EngineFailed, Sampling, Token

Outcome = Token | EngineFailed


@dataclass(eq=False)
class Request:
    """One prompt on its way through an engine, with the queue that its reader waits at."""

    prompt: tuple[int, ...]
    sampling: Sampling
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Outcome] = field(default_factory=asyncio.Queue)
    done: bool = False


class Backend(Protocol):
    """The part of an engine that only its own thread may call."""

    def add(self, request: Request) -> None:
        """Take a request in; it is stepped from the next step on."""
        ...

    def cancel(self, request: Request) -> None:
        """Drop a request that was added, wherever it stands."""
        ...

    def busy(self) -> bool:
        """Tell whether a step would do anything."""
        ...

    def step(self) -> list[tuple[Request, Outcome]]:
        """Compute one step for whoever is due; an exception means the model is lost."""
        ...

    def alive(self) -> bool:
        """Tell whether the model is still there; any thread may ask."""
        ...

    def close(self) -> None:
        """Let go of the model, after the last step."""
        ...


class Worker:
    """An engine made of a backend and the thread that steps it."""

    def __init__(self, name: str, backend: Backend, *, constrains: bool = False) -> None:
        self.name = name
        self.constrains = constrains
        self._backend: Backend | None = backend
        self._changed = threading.Condition()
        self._arrived: deque[Request] = deque()
        self._left: deque[Request] = deque()
        self._closing = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[Token, None]:
        """Yield the answer's tokens; closing the iterator early frees its slot."""
        request = Request(tuple(prompt), sampling, asyncio.get_running_loop())
        self._enter(request)
        try:
            while True:
                outcome = await request.queue.get()
                if isinstance(outcome, EngineFailed):
                    raise outcome
                yield outcome
                if outcome.finish is not None:
                    return
        finally:
            self._leave(request)

    def healthy(self) -> bool:
        """Tell whether the thread still answers and has its model."""
        backend = self._backend
        return not (self._failed or self._closing or backend is None) and backend.alive()

    def close(self) -> None:
        """End the thread after its current step and let go of the model."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _enter(self, request: Request) -> None:
        with self._changed:
            if self._failed or self._closing:
                raise _lost()
            self._arrived.append(request)
            self._changed.notify()

    def _leave(self, request: Request) -> None:
        with self._changed:
            if not request.done:
                self._left.append(request)
                self._changed.notify()

    def _run(self) -> None:
        backend = self._backend
        inside: set[Request] = set()
        try:
            while backend is not None and self._exchange(backend, inside):
                outcomes = backend.step()
                inside.difference_update(self._deliver(outcomes))
        except Exception:
            # The reason belongs to the operator, not to the caller; no prompt is in a traceback.
            traceback.print_exc(file=sys.stderr)
        finally:
            self._give_up(inside)

    def _exchange(self, backend: Backend, inside: set[Request]) -> bool:
        """Wait for work, then let requests in and out; False when it is time to end."""
        with self._changed:
            while not (self._arrived or self._left or self._closing or backend.busy()):
                self._changed.wait()
            if self._closing:
                return False
            arrived, self._arrived = list(self._arrived), deque()
            left, self._left = list(self._left), deque()
        for request in arrived:
            self._add(backend, request, inside)
        for request in left:
            if request in inside:
                inside.discard(request)
                backend.cancel(request)
        return True

    def _add(self, backend: Backend, request: Request, inside: set[Request]) -> None:
        try:
            backend.add(request)
            inside.add(request)
        except Exception:  # a library's objection to one request must not end all the others
            traceback.print_exc(file=sys.stderr)
            failure = EngineFailed("the engine refuses this request", hint="change its settings")
            self._deliver([(request, failure)])

    def _deliver(self, outcomes: list[tuple[Request, Outcome]]) -> list[Request]:
        """Hand a step's tokens to each event loop in one call; return whose answers are whole."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Request, Outcome]]] = {}
        finished: list[Request] = []
        for request, outcome in outcomes:
            by_loop.setdefault(request.loop, []).append((request, outcome))
            if isinstance(outcome, EngineFailed) or outcome.finish is not None:
                request.done = True
                finished.append(request)
        for loop, batch in by_loop.items():
            try:
                loop.call_soon_threadsafe(_put, batch)
            except RuntimeError:  # the loop was closed: nobody reads these any more
                with self._changed:
                    self._left.extend(request for request, _ in batch if not request.done)
        return finished

    def _give_up(self, inside: set[Request]) -> None:
        with self._changed:
            self._failed = True
            stranded = [*inside, *self._arrived]
            self._arrived.clear()
        self._deliver([(request, _lost()) for request in stranded if not request.done])


def _put(batch: list[tuple[Request, Outcome]]) -> None:
    for request, outcome in batch:
        request.queue.put_nowait(outcome)


def _lost() -> EngineFailed:
    return EngineFailed("the model has stopped", hint="the deployment restarts it; ask again")
