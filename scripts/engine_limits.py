"""Measures what other ways to compress a tar.gz would bring: `python scripts/engine_limits.py`.

Cuts the reference environment of `bench.py` into the blocks that envpack compresses, and gives a
sample of them to zlib-ng in several ways: its levels, another memory level, larger blocks, a lower
level for blocks with many zero bytes, and for each block the level that is best for it, which
nobody can know before. All ways take their turn at a block, each round in another order. Prints
Markdown: CPU and size, those of envpack's own way = 1. Needs what `bench.py` needs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from bench import PAGE, spliced
from benching.bare import BLOCK, WINDOW, ZLIB_NG, blocks
from benching.trees import REFERENCE, SMALL, reference, self_contained
from zlib_ng import zlib_ng

LEVELS = (2, 3, 4, 5, 6)
MEMORY = 8
MANY_ZEROS = 0.1
SEED = 7


class Cost(NamedTuple):
    """CPU seconds and bytes."""

    cpu: float
    size: int

    def plus(self, other: Cost) -> Cost:
        """Return the sum."""
        return Cost(self.cpu + other.cpu, self.size + other.size)


Way = Callable[[bytes, bytes], int]
"""Compresses a block behind what was before it, and returns the size."""


def deflated(data: bytes, before: bytes, *, level: int, memory: int = MEMORY) -> int:
    """Compress one block as envpack does."""
    engine = zlib_ng.compressobj(
        level=level, wbits=-zlib_ng.MAX_WBITS, memLevel=memory, zdict=before
    )
    return len(engine.compress(data)) + len(engine.flush(zlib_ng.Z_SYNC_FLUSH))


def halved(data: bytes, before: bytes) -> int:
    """Compress a block as two."""
    middle = len(data) // 2
    first = deflated(data[:middle], before, level=ZLIB_NG)
    return first + deflated(data[middle:], data[middle - WINDOW : middle], level=ZLIB_NG)


def hashed(data: bytes, before: bytes) -> int:
    """Hash a block, which leaves nothing to store."""
    del before
    hashlib.sha256(data)
    return 0


def by_zeros(data: bytes, before: bytes) -> int:
    """Compress machine code and tables with a lower level than text."""
    level = 3 if data.count(0) > MANY_ZEROS * len(data) else 5
    return deflated(data, before, level=level)


WAYS: dict[str, Way] = {
    **{f"level {level}": partial(deflated, level=level) for level in LEVELS},
    "level 4, memory level 7": partial(deflated, level=ZLIB_NG, memory=7),
    "level 4, memory level 9": partial(deflated, level=ZLIB_NG, memory=9),
    "level 4, blocks of half the size": halved,
    "level 3 where over 10 % are zeros, else 5": by_zeros,
    "sha256 of the same bytes": hashed,
}
OWN = f"level {ZLIB_NG}"


def sampled(folder: str, every: int) -> list[tuple[bytes, bytes]]:
    """Return every so manieth block of a folder, with the end of the block before it."""
    found, before = [], b""
    for number, block in enumerate(blocks(folder)):
        if number % every == 1 and len(block) >= BLOCK:
            found.append((block, before))
        before = block[-WINDOW:]
    return found


def measured(sample: Sequence[tuple[bytes, bytes]], rounds: int) -> dict[str, list[Cost]]:
    """Return what each way costs for each block: of several rounds, the cheapest."""
    chance = random.Random(SEED)  # noqa: S311 - an order, no secret
    best: dict[str, list[Cost]] = {name: [] for name in WAYS}
    for block, before in sample:
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        sizes = {}
        for _ in range(rounds):
            for name in chance.sample(list(WAYS), len(WAYS)):
                begin = time.thread_time()
                sizes[name] = WAYS[name](block, before)
                times[name].append(time.thread_time() - begin)
        for name, costs in best.items():
            costs.append(Cost(min(times[name]), sizes[name]))
    return best


def total(costs: Sequence[Cost]) -> Cost:
    """Return the sum of all blocks."""
    result = Cost(0, 0)
    for cost in costs:
        result = result.plus(cost)
    return result


def oracle(best: dict[str, list[Cost]], size: int) -> Cost:
    """Return the least CPU for at most `size` bytes, if each block had the level that suits it.

    By Lagrange's multiplier: the price of a byte at which the sum is just small enough.
    """
    rows = list(zip(*(best[f"level {level}"] for level in LEVELS), strict=True))

    def at(price: float) -> Cost:
        return total([min(row, key=lambda cost: cost.cpu + price * cost.size) for row in rows])

    low, high = 0.0, 1e-4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle).size <= size else (middle, high)
    return at(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure other ways to compress a tar.gz.")
    add = parser.add_argument
    add("--every", type=int, default=8, metavar="N", help="every Nth block (%(default)s)")
    add("--rounds", type=int, default=3, metavar="N", help="turns of each way (%(default)s)")
    add("--python", help="of the environment (a managed 3.12, or any self-contained one)")
    add("--quick", action="store_true", help="a small environment: does it run at all")
    add("--write-docs", action="store_true", help="update docs/performance.md")
    chosen = parser.parse_args()
    above = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    python, _ = self_contained(chosen.python)
    packages = SMALL if chosen.quick else REFERENCE
    env = reference(os.path.join(above, "uv-envpack-bench"), python, packages)
    sample = sampled(env, chosen.every)
    if not sample:
        raise SystemExit("engine_limits: the environment is smaller than two blocks")
    best = measured(sample, chosen.rounds)
    own = total(best[OWN])
    rows = {name: total(costs) for name, costs in best.items()}
    rows["for each block the best of levels 2 to 6, same size"] = oracle(best, own.size)
    lines = ["| zlib-ng | CPU | size |", "| --- | ---: | ---: |"]
    for name, cost in rows.items():
        size = f"{cost.size / own.size:.4f}" if cost.size else ""
        lines.append(f"| {name} | {cost.cpu / own.cpu:.2f} | {size} |")
    print(f"{len(sample)} blocks of {BLOCK // 1024} KiB; {OWN}: {own.cpu:.2f} s of CPU\n")
    print("\n".join(lines))
    if chosen.write_docs:
        spliced(PAGE, "engine", lines)


if __name__ == "__main__":
    main()
