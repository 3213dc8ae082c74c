"""Measures what other ways to compress would bring: `python scripts/engine_limits.py`.

Takes samples of the reference environment of `bench.py` and compresses each in several ways.
tar.gz: its blocks, with zlib-ng's levels, another memory level, smaller blocks, a lower level for
blocks with many zero bytes, and for each block the level that is best for it, which nobody can know
before; and libdeflate, which makes whole streams only: to be one part of another its last block has
to be found, which takes decoding all of it. tar.zst: stretches of the stream, with zstd's levels
and with its fastest strategy and more memory. zip: files by size, with libdeflate's levels, and
large ones in blocks with zlib-ng. All ways take their turn at a sample, each round in another
order. Prints Markdown: CPU and size, those of envpack's own way = 1. Needs what `bench.py` needs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import deflate
import zstandard
from bench import PAGE, spliced
from benching.bare import BLOCK, LIBDEFLATE, WINDOW, ZLIB_NG, ZSTD, blocks, paths
from benching.trees import REFERENCE, SMALL, reference, self_contained
from zlib_ng import zlib_ng

LEVELS = (2, 3, 4, 5, 6)
MEMORY = 8
LIBDEFLATE_GZIP = 3
STRETCH = 64
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
"""Compresses some bytes behind what was before them, and returns the size."""

Sample = list[tuple[bytes, bytes]]
"""Bytes to compress, and what was before them."""


class Subject(NamedTuple):
    """Samples that are compressed in some ways, of which one is envpack's own."""

    title: str
    sample: Sample
    ways: dict[str, Way]
    own: str


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


def by_itself(data: bytes, before: bytes, *, decoded: bool) -> int:
    """Compress a block with libdeflate, as a stream of its own."""
    del before
    packed = bytes(deflate.deflate_compress(data, LIBDEFLATE_GZIP))
    if decoded:
        zlib_ng.decompressobj(wbits=-zlib_ng.MAX_WBITS).decompress(packed)
    return len(packed)


def by_zeros(data: bytes, before: bytes) -> int:
    """Compress machine code and tables with a lower level than text."""
    level = 3 if data.count(0) > MANY_ZEROS * len(data) else 5
    return deflated(data, before, level=level)


def in_zstd(data: bytes, before: bytes, *, how: zstandard.ZstdCompressionParameters) -> int:
    """Compress a stretch with one thread of zstd."""
    del before
    return len(zstandard.ZstdCompressor(compression_params=how).compress(data))


def fast(window: int, table: int) -> zstandard.ZstdCompressionParameters:
    """Return the strategy of zstd's levels 1 and 2, with more memory, in powers of two."""
    return zstandard.ZstdCompressionParameters(
        strategy=zstandard.STRATEGY_FAST,
        min_match=6,
        search_log=1,
        chain_log=13,
        window_log=window,
        hash_log=table,
        threads=1,
    )


def at_once(data: bytes, before: bytes, *, level: int) -> int:
    """Compress a file whole with libdeflate."""
    del before
    return len(deflate.deflate_compress(data, level))


def in_blocks(data: bytes, before: bytes, *, level: int) -> int:
    """Compress a file in blocks with zlib-ng."""
    size = 0
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        size += deflated(block, before, level=level)
        before = block[-WINDOW:]
    return size


GZIP: dict[str, Way] = {
    **{f"level {level}": partial(deflated, level=level) for level in LEVELS},
    "level 4, memory level 7": partial(deflated, level=ZLIB_NG, memory=7),
    "level 4, memory level 9": partial(deflated, level=ZLIB_NG, memory=9),
    "level 4, blocks of half the size": halved,
    "level 3 where over 10 % are zeros, else 5": by_zeros,
    "libdeflate 3, each block by itself": partial(by_itself, decoded=False),
    "the same, and decoding it": partial(by_itself, decoded=True),
    "sha256 of the same bytes": hashed,
}
LEVEL = zstandard.ZstdCompressionParameters.from_level
ZSTANDARD: dict[str, Way] = {
    **{f"zstd {level}": partial(in_zstd, how=LEVEL(level, threads=1)) for level in (1, 2, 3, 4)},
    "its fast strategy, window 4 MiB, hash 2^18": partial(in_zstd, how=fast(22, 18)),
    "its fast strategy, window 8 MiB, hash 2^17": partial(in_zstd, how=fast(23, 17)),
    "sha256": hashed,
}
WHOLE: dict[str, Way] = {f"libdeflate {n}": partial(at_once, level=n) for n in (5, 6, 7, 8)}
LARGE: dict[str, Way] = {
    f"libdeflate {LIBDEFLATE}": partial(at_once, level=LIBDEFLATE),
    "zlib-ng 6 in blocks": partial(in_blocks, level=6),
    "zlib-ng 7 in blocks": partial(in_blocks, level=7),
}


def subjects(folder: str, every: int) -> Iterator[Subject]:
    """Yield what is compressed, as far as the folder has it."""
    yield Subject("tar.gz: zlib-ng", sampled(folder, every), GZIP, f"level {ZLIB_NG}")
    yield Subject("tar.zst", stretches(folder, every), ZSTANDARD, f"zstd {ZSTD}")
    for title, (over, most), ways, own in (
        ("zip, files up to 128 KiB", (-1, 128 << 10), WHOLE, "libdeflate 7"),
        ("zip, files up to 8 MiB", (128 << 10, 8 << 20), WHOLE, f"libdeflate {LIBDEFLATE}"),
        ("zip, files of 8 to 32 MiB", (8 << 20, 32 << 20), LARGE, f"libdeflate {LIBDEFLATE}"),
    ):
        few = 1 if ways is LARGE else every
        yield Subject(title, contents(folder, over, most, few), ways, own)


def contents(folder: str, over: int, most: int, every: int) -> Sample:
    """Return every so manieth file of a size."""
    fit = [path for path in sorted(paths(folder)) if over < os.path.getsize(path) <= most]
    found: Sample = []
    for path in fit[::every]:
        with open(path, "rb") as file:
            found.append((file.read(), b""))
    return found


def stretches(folder: str, every: int) -> Sample:
    """Return every so manieth stretch of a folder's bytes."""
    found: Sample = []
    held: list[bytes] = []
    for number, block in enumerate(blocks(folder)):
        if number // STRETCH % (every // 2 or 1) == 0:
            held.append(block)
        elif held:
            found.append((b"".join(held), b""))
            held = []
    return [*found, (b"".join(held), b"")] if held else found


def sampled(folder: str, every: int) -> Sample:
    """Return every so manieth block of a folder, with the end of the block before it."""
    found: Sample = []
    before = b""
    for number, block in enumerate(blocks(folder)):
        if number % every == 1 and len(block) >= BLOCK:
            found.append((block, before))
        before = block[-WINDOW:]
    if not found:
        raise SystemExit("engine_limits: the environment is smaller than two blocks")
    return found


def measured(sample: Sample, ways: dict[str, Way], rounds: int) -> dict[str, list[Cost]]:
    """Return what each way costs for each piece: of several rounds, the cheapest."""
    chance = random.Random(SEED)  # noqa: S311 - an order, no secret
    best: dict[str, list[Cost]] = {name: [] for name in ways}
    for block, before in sample:
        times: dict[str, list[float]] = {name: [] for name in ways}
        sizes = {}
        for _ in range(rounds):
            for name in chance.sample(list(ways), len(ways)):
                begin = time.process_time()
                sizes[name] = ways[name](block, before)
                times[name].append(time.process_time() - begin)
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


def table(subject: Subject, rounds: int) -> list[str]:
    """Measure a subject, and return it as a table."""
    best = measured(subject.sample, subject.ways, rounds)
    own = total(best[subject.own])
    rows = {name: total(costs) for name, costs in best.items()}
    if subject.ways is GZIP:
        rows["for each block the best of levels 2 to 6, same size"] = oracle(best, own.size)
    megabytes = sum(len(data) for data, _ in subject.sample) / 1e6
    head = f"{subject.title}; {megabytes:.0f} MB, {own.cpu:.1f} s"
    lines = [f"| {head} | CPU | size |", "| --- | ---: | ---: |"]
    for name, cost in rows.items():
        size = f"{cost.size / own.size:.4f}" if cost.size else ""
        mark = "**" if name == subject.own else ""
        lines.append(f"| {mark}{name}{mark} | {cost.cpu / own.cpu:.2f} | {size} |")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure other ways to compress.")
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
    lines: list[str] = []
    for subject in subjects(env, chosen.every):
        if subject.sample:
            lines += [*([""] if lines else []), *table(subject, chosen.rounds)]
    print("\n".join(lines))
    if chosen.write_docs:
        spliced(PAGE, "engine", lines)


if __name__ == "__main__":
    main()
