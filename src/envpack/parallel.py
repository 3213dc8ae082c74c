"""Threads for work that releases the GIL: hashing, compressing, reading.

One pool per run. Tasks never wait for tasks, so a pool of any size makes progress, and results
come back in the order of submission, so the bytes written do not depend on the number of workers.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Condition
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def default_jobs() -> int:
    """Return the number of CPUs this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1


class _Spending:
    """What of a budget is spent on tasks that run, and on results that wait."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._spent = 0
        self._changed = Condition()
        self._awaited: Future[Any] | None = None

    def begin(self, cost: int, first: Future[T] | None) -> bool:
        """Spend `cost` when there is room for it; False if `first` is to be read before."""
        with self._changed:
            self._awaited = first
            while first is not None and self._spent + cost > self._budget:
                if first.done():
                    return False
                self._changed.wait()
            self._spent += cost
            return True

    def end(self, cost: int, done: Future[Any] | None = None) -> None:
        """Give `cost` back, for the task that is `done` or for a result that was read."""
        with self._changed:
            self._spent -= cost
            if cost or done is self._awaited:
                self._changed.notify()


class Pool:
    """A fixed number of worker threads; leaving the context drops what has not started."""

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = jobs or default_jobs()
        self._executor = ThreadPoolExecutor(self.jobs, thread_name_prefix="envpack")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def submit(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start `task` on a worker; its exceptions surface at `.result()`."""
        return self._executor.submit(task, *args, **kwargs)

    def ordered(
        self,
        tasks: Iterable[tuple[Callable[[], T], int]],
        *,
        budget: int,
        weigh: Callable[[T], int] | None = None,
    ) -> Iterator[T]:
        """Run `(task, cost)` pairs ahead of the reader, and yield results in order.

        At most `budget` units of cost, but always at least one task, are in flight or waiting to
        be read, which bounds memory when cost is bytes. A result that waits for an earlier one
        costs what `weigh` says of it; without it, what its task did.
        """
        waiting: deque[tuple[Future[T], int]] = deque()
        spending = _Spending(budget)

        def done(future: Future[T], cost: int) -> None:
            failed = future.cancelled() or future.exception() is not None
            back = 0 if failed or weigh is None else cost - weigh(future.result())
            spending.end(back, future)

        def read() -> T:
            future, cost = waiting.popleft()
            result = future.result()
            spending.end(cost if weigh is None else weigh(result))
            return result

        for task, cost in tasks:
            while not spending.begin(cost, waiting[0][0] if waiting else None):
                yield read()
            future = self._executor.submit(task)
            waiting.append((future, cost))
            future.add_done_callback(partial(done, cost=cost))
        while waiting:
            yield read()
