"""Work on threads: in order, and within its budget."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envpack.parallel import Pool


@settings(deadline=None, max_examples=50)
@given(
    costs=st.lists(st.integers(0, 40), max_size=60),
    jobs=st.integers(1, 4),
    budget=st.integers(1, 60),
    weight=st.sampled_from([None, 0, 1]),
)
def test_results_come_in_order_and_within_the_budget(
    costs: list[int], jobs: int, budget: int, weight: int | None
) -> None:
    """No more runs or waits than the budget, or one task that is larger than it."""
    held = 0
    lock = threading.Lock()

    def task(index: int, cost: int) -> int:
        nonlocal held
        if weight is not None:
            with lock:
                held -= cost - weight * min(cost, 1)
        return index

    def tasks() -> Iterator[tuple[Callable[[], int], int]]:
        nonlocal held
        for index, cost in enumerate(costs):
            yield partial(task, index, cost), cost
            with lock:
                held += cost

    weigh = None if weight is None else lambda index: weight * min(costs[index], 1)
    read = []
    with Pool(jobs) as pool:
        for index in pool.ordered(tasks(), budget=budget, weigh=weigh):
            read.append(index)
            with lock:
                held -= costs[index] if weight is None else weight * min(costs[index], 1)
            # The generator is one task ahead of what it was asked for.
            assert held <= max(budget, *costs)
    assert read == list(range(len(costs)))


def test_a_light_result_makes_room_before_it_is_read() -> None:
    """While the first task runs, the others go on when what they made is small."""
    rest = threading.Event()
    done: list[int] = []

    def first() -> int:
        assert rest.wait(10), "the others waited for the first"
        return 0

    def other(index: int) -> int:
        done.append(index)
        if len(done) == 20:
            rest.set()
        return index

    work: list[tuple[Callable[[], int], int]] = [(first, 1)]
    work += [(partial(other, index), 1) for index in range(1, 21)]
    with Pool(2) as pool:
        assert list(pool.ordered(work, budget=3, weigh=lambda _: 0)) == list(range(21))
    assert done == list(range(1, 21))


def test_a_task_that_fails_is_told_in_its_turn() -> None:
    """What came before it is read; its exception reaches the reader."""
    work: list[tuple[Callable[[], float], int]] = [(lambda: 1, 1), (lambda: 1 / 0, 1)]
    with Pool(2) as pool:
        results = pool.ordered(work, budget=10, weigh=lambda _: 0)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
