"""Threads for work that releases the GIL: hashing, compressing, reading.

One pool per run. Tasks never wait for tasks, so a pool of any size makes progress, and results
come back in the order of submission, so the bytes written do not depend on the number of workers.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def default_jobs() -> int:
    """Return the number of CPUs this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1


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
    ) -> Iterator[T]:
        """Run `(task, cost)` pairs ahead of the reader, and yield results in order.

        At most `budget` units of cost, but always at least one task, are in flight or waiting to
        be read, which bounds memory when cost is bytes.
        """
        waiting: deque[tuple[Future[T], int]] = deque()
        spent = 0
        for task, cost in tasks:
            while waiting and spent + cost > budget:
                future, paid = waiting.popleft()
                spent -= paid
                yield future.result()
            waiting.append((self._executor.submit(task), cost))
            spent += cost
        while waiting:
            yield waiting.popleft()[0].result()
