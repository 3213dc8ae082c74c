"""Work on threads: in order, and within its budget."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envpack.errors import ToolFault
from envpack.parallel import Pool


@settings(max_examples=50)
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


def test_single_tasks_have_one_thread_to_themselves() -> None:
    """They run in turn on a thread that is no worker, so workers may wait for them."""
    threads: list[int] = []
    go_on = threading.Event()

    def single(index: int) -> int:
        threads.append(threading.get_ident())
        if index == 9:
            go_on.set()
        return index

    def busy() -> int:
        assert go_on.wait(10), "a worker was needed for what is not its work"
        return threading.get_ident()

    with Pool(2) as pool:

        def work() -> Iterator[tuple[Callable[[], int], int]]:
            yield busy, 1
            yield busy, 1
            turns = ((partial(single, index), 1) for index in range(10))
            assert list(pool.ordered(turns, budget=4, single=True)) == list(range(10))

        workers = list(pool.ordered(work(), budget=3))
    assert len(workers) == 2
    assert set(threads).isdisjoint(workers)
    assert len(set(threads)) == 1


def test_leaving_drops_what_has_not_started() -> None:
    """What runs is waited for, what waits behind it is never begun."""
    begun: list[int] = []
    rest = threading.Event()

    def task(index: int) -> int:
        begun.append(index)
        if index:
            assert rest.wait(10)
        return index

    with Pool(1) as pool:
        assert next(pool.ordered([(partial(task, index), 1) for index in range(9)], budget=9)) == 0
        threading.Timer(0.2, rest.set).start()
    assert begun in ([0], [0, 1])


def test_a_result_belongs_to_its_reader() -> None:
    """Nothing holds on to what a task made, or was made with, once that was read."""

    class Thing:
        pass

    def hand_on(thing: Thing) -> Thing:
        return thing

    thing = Thing()
    gone = weakref.ref(thing)
    with Pool(1) as pool:
        work = [(partial(hand_on, thing), 1)]
        del thing
        assert all(isinstance(each, Thing) for each in pool.ordered([work.pop()], budget=1))
        for _ in range(100):
            if gone() is None:
                break
            time.sleep(0.05)
        assert gone() is None


def test_an_exception_belongs_to_its_reader() -> None:
    """What a task raised, with all that its frames hold, goes when it was handled."""

    class Mishap(Exception):
        pass

    def fail() -> None:
        raise Mishap

    gone = []
    gc.disable()
    try:
        with Pool(1) as pool:
            try:
                list(pool.ordered([(fail, 1)], budget=1))
            except Mishap as error:
                gone.append(weakref.ref(error))
        assert [each() for each in gone] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_while_a_thread_begins(monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    """Ctrl-C there is passed on, and the thread ends like any other."""
    start = threading.Thread.start

    def interrupted(self: threading.Thread) -> None:
        if begun:
            start(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), Pool(1) as pool:
        list(pool.ordered([(int, 1)], budget=1))
    assert [each.name for each in threading.enumerate() if each.name.startswith("envpack-")] == []


def test_fewer_threads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no more can be started those that run do all; where none can be it is a sentence."""
    begin, left = threading.Thread.start, [1]

    def start(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    tasks = [(partial(int, number), 1) for number in range(20)]
    with Pool(4) as pool:
        assert list(pool.ordered(tasks, budget=8)) == list(range(20))
    with Pool(4) as pool, pytest.raises(ToolFault, match="no thread can be started"):
        list(pool.ordered(tasks, budget=8))
