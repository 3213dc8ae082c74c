"""Threads: workers for what releases the GIL for long, and one for what takes it again and again.

One pool per run. Tasks never wait for tasks, so a pool of any size makes progress, and results
come back in the order of submission, so the bytes written do not depend on the number of workers.
Tasks are short and many: they go from thread to thread through queues written in C, and what is
known of them is their reader's alone, so that it needs no lock.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from envpack.errors import ToolFault

T = TypeVar("T")


def default_jobs() -> int:
    """Return the number of CPUs this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1


class _Task(Generic[T]):
    """A call for a worker, which puts it into `over` when it has ended.

    `cost` is what its reader has spent on it, and `seen` says that the reader knows of its end.
    """

    __slots__ = ("_call", "_ended", "_over", "cost", "seen")

    def __init__(self, call: Callable[[], T], cost: int, over: SimpleQueue[_Task[T]]) -> None:
        self._call: Callable[[], T] | None = call
        self._ended: tuple[T] | BaseException | None = None
        self._over = over
        self.cost = cost
        self.seen = False

    def run(self) -> None:
        """Make the call, on a worker, and let go of what it was made with."""
        call, self._call = self._call, None
        try:
            assert call is not None
            self._ended = (call(),)
        except BaseException as error:  # noqa: BLE001 - its reader's to handle
            self._ended = error
        self._over.put(self)

    def weighed(self, weigh: Callable[[T], int]) -> int:
        """Return what is to be spent on it now that it has ended."""
        return weigh(self._ended[0]) if isinstance(self._ended, tuple) else self.cost

    def result(self) -> T:
        """Hand over what the call returned, or raise what it raised; only once."""
        ended, self._ended = self._ended, None
        if isinstance(ended, tuple):
            return ended[0]
        assert ended is not None
        try:
            raise ended
        finally:
            del ended  # by this frame the exception would hold itself


def no_threads() -> ToolFault:
    """Return what is raised where not even one thread can be started."""
    return ToolFault(
        "no thread can be started",
        hint="end other programs, or raise the limit of processes (`ulimit -u`, or a container's)",
    )


class _Crew:
    """At most `most` threads, which begin when there is work for them.

    An interrupt may come between any two steps. So a thread is noted before it begins, and none
    keeps the process from its end.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._queue: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def start(self, task: _Task[Any]) -> None:
        """Let one of them run the task."""
        self._queue.put(task)
        if len(self._threads) < self._most:
            name = f"envpack-{self._name}-{len(self._threads)}"
            self._threads.append(Thread(target=self._work, name=name, daemon=True))
            try:
                self._threads[-1].start()
            except RuntimeError as error:  # fewer do the same
                self._threads.pop()
                self._most = len(self._threads)
                if not self._threads:
                    raise no_threads() from error

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            task.run()

    def dismiss(self) -> None:
        """Drop what has not started, and let the threads end when they have done the rest."""
        with suppress(Empty):
            while True:
                self._queue.get_nowait()
        for _ in self._threads:
            self._queue.put(None)

    def join(self) -> None:
        """Wait until they have ended."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join()


class Pool:
    """`jobs` workers, and one more thread; leaving the context drops what has not started."""

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = jobs or default_jobs()
        self._workers = _Crew("worker", self.jobs)
        self._single = _Crew("single", 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        crews = (self._single, self._workers)
        for crew in crews:
            crew.dismiss()
        for crew in crews:
            crew.join()

    def ordered(
        self,
        tasks: Iterable[tuple[Callable[[], T], int]],
        *,
        budget: int,
        weigh: Callable[[T], int] | None = None,
        single: bool = False,
    ) -> Iterator[T]:
        """Run `(task, cost)` pairs ahead of the reader, and yield results in order.

        The workers share them. A `single` thread is better for tasks that give the GIL away and
        take it back at every turn, as reading small files does: two of them wake each other in
        vain. At most `budget` units of cost, but always at least one task, are in flight or waiting
        to be read, which bounds memory when cost is bytes. A result that waits for an earlier one
        costs what `weigh` says of it; without it, what its task did. What a task raises is raised
        in its turn.
        """
        waiting: deque[_Task[T]] = deque()
        over: SimpleQueue[_Task[T]] = SimpleQueue()
        spent = 0
        start = (self._single if single else self._workers).start

        def see_one() -> None:
            """Wait until one more has ended."""
            nonlocal spent
            task = over.get()
            task.seen = True
            if weigh is not None:
                weight = task.weighed(weigh)
                spent += weight - task.cost
                task.cost = weight

        def read() -> T:
            nonlocal spent
            task = waiting.popleft()
            while not task.seen:
                see_one()
            spent -= task.cost
            return task.result()

        for call, cost in tasks:
            while waiting and spent + cost > budget:
                if waiting[0].seen:
                    yield read()
                else:
                    see_one()
            spent += cost
            task = _Task(call, cost, over)
            waiting.append(task)
            start(task)
            del call, task
        while waiting:
            yield read()
