"""One deflate stream made of many blocks, and the CRC-32 put together from theirs."""

from __future__ import annotations

import gzip
import os
import random
import zlib
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from envpack.archive import deflate
from envpack.archive.blocks import BLOCK, gathered
from envpack.parallel import Pool

NOISE = random.Random(2).randbytes(300_000)  # no secret

content = st.one_of(
    st.binary(max_size=2000),
    st.builds(
        lambda seed, times, at, length: seed * times + NOISE[at : at + length] + seed,
        st.binary(min_size=1, max_size=50),
        st.integers(0, 3000),
        st.integers(0, 1000),
        st.integers(0, 150_000),
    ),
)


def raw(data: bytes, block: int, level: int = 5, jobs: int = 2) -> bytes:
    """Return the raw deflate stream of `data` cut into blocks of `block`."""
    with Pool(jobs) as pool:
        work = deflate.tasks(gathered([data], block), level=level)
        pieces = list(pool.ordered(work, budget=deflate.budget(pool, block)))
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    return b"".join(piece.data for piece in pieces)


def member(data: bytes, block: int = BLOCK, jobs: int = 2, level: int = 5) -> bytes:
    """Return `data` as a gzip file."""
    with Pool(jobs) as pool:
        work = deflate.tasks(gathered([data], block), level=level)
        with TemporaryFile(buffering=0) as file:
            target = deflate.GzipMember(file)
            for piece in pool.ordered(work, budget=deflate.budget(pool, block)):
                target.put(piece)
            target.close()
            return bytes(os.pread(file.fileno(), file.tell(), 0))


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_crc_combine(first: bytes, second: bytes) -> None:
    """The CRC-32 of two strings end to end follows from theirs and the second's length."""
    both = deflate.crc32_combine(zlib.crc32(first), zlib.crc32(second), len(second))
    assert both == zlib.crc32(first + second)


@pytest.mark.parametrize("length", [0, 1, 255, 32768, BLOCK, BLOCK + 1, 20_000_003])
def test_crc_combine_of_long_strings(length: int) -> None:
    """Lengths up to many blocks combine, nothing included."""
    second = bytes(length)
    both = deflate.crc32_combine(zlib.crc32(NOISE), zlib.crc32(second), length)
    assert both == zlib.crc32(second, zlib.crc32(NOISE))


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_crc_combine_of_many(pieces: list[bytes]) -> None:
    """Starting with nothing, the pieces' CRCs add up to that of the whole."""
    crc = 0
    for piece in pieces:
        crc = deflate.crc32_combine(crc, zlib.crc32(piece), len(piece))
    assert crc == zlib.crc32(b"".join(pieces))


@given(st.lists(st.binary(max_size=60), max_size=30), st.integers(1, 100))
def test_gathered(pieces: list[bytes], block: int) -> None:
    """Blocks hold the same bytes, all but the last have the length asked for, none is empty."""
    blocks = list(gathered(pieces, block))
    assert b"".join(blocks) == b"".join(pieces)
    assert all(len(each) == block for each in blocks[:-1])
    assert all(0 < len(each) <= block for each in blocks[-1:])


@given(content, st.integers(1, 70_000), st.integers(1, 9))
def test_stream_of_any_blocks(data: bytes, block: int, level: int) -> None:
    """Blocks of any length, at any level, are one deflate stream of the data, within its bound."""
    block = max(block, len(data) // 50 + 1)
    packed = raw(data, block, level)
    engine = zlib.decompressobj(-15)
    assert engine.decompress(packed) == data
    assert engine.eof
    assert engine.unused_data == b""
    assert len(packed) <= deflate.bound(len(data), block)


@settings(max_examples=30)
@given(content, st.integers(1, 70_000))
def test_one_gzip_member(data: bytes, block: int) -> None:
    """A gzip file is one member whose checksum and size any reader accepts."""
    block = max(block, len(data) // 50 + 1)
    packed = member(data, block)
    assert gzip.decompress(packed) == data
    engine = zlib.decompressobj(31)
    assert engine.decompress(packed) == data
    assert engine.eof
    assert engine.unused_data == b""


@settings(max_examples=30)
@given(content, st.integers(500, 70_000))
def test_same_bytes_for_any_jobs(data: bytes, block: int) -> None:
    """The number of workers does not change a byte."""
    assert len({member(data, block, jobs) for jobs in (1, 2, 7)}) == 1


def words(seed: int, count: int) -> bytes:
    """Return words of which some are frequent, with runs of zeros between them."""
    chance = random.Random(seed)  # no secret
    known = [chance.randbytes(chance.randint(2, 9)) for _ in range(400)]
    picked = chance.choices(known, [0.98**rank for rank in range(400)], k=count)
    return b"".join(word if chance.random() < 0.8 else bytes(len(word)) for word in picked)


@pytest.mark.parametrize("level", range(1, 10))
def test_blocks_know_nothing_of_others(level: int) -> None:
    """A worker gives a block the same bytes whatever it deflated before."""
    texts = [words(seed, 15_000 + 1000 * seed) for seed in range(6, 10)]
    calls: list[Callable[[], deflate.Block]] = [
        partial(deflate._deflate, text, before[-deflate.WINDOW :], level, last=False)
        for before, text in pairwise(texts)
    ]

    def made(calls: list[Callable[[], deflate.Block]]) -> list[deflate.Block]:
        with Pool(1) as pool:
            return list(pool.ordered([(call, 1) for call in calls], budget=1))

    assert made(calls) == [made([call])[0] for call in calls]


@pytest.mark.parametrize(
    "data", [b"", b"words and " * 5000, NOISE[:50_000]], ids=["nothing", "words", "noise"]
)
def test_without_what_zlib_ng_does_not_document(
    monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """A zlib-ng that lacks the class for parallel work compresses as well.

    At the default level the bytes are the same; where they are not, none is taken for the other.
    """
    expected = raw(data, 9_000)
    engine = deflate.engine(4)
    monkeypatch.delattr(zlib_ng, "_ParallelCompress")
    packed = raw(data, 9_000)
    assert zlib.decompress(packed, -15) == data
    assert packed == expected
    assert deflate.engine(4) != engine


@pytest.mark.parametrize("level", range(1, 10))
@pytest.mark.parametrize("block", [65_535, 65_536, BLOCK])
def test_noise_is_stored(level: int, block: int) -> None:
    """What does not shrink is stored: at any level it grows by 5 bytes in 65535, no more."""
    packed = raw(NOISE, block, level)
    assert zlib.decompress(packed, -15) == NOISE
    assert len(packed) <= deflate.bound(len(NOISE), block) <= len(NOISE) + 100


def test_blocks_are_primed() -> None:
    """A block refers back across its beginning: a repetition in the next block costs little."""
    line = NOISE[:30_000]
    assert len(raw(line * 2, 30_000)) < len(line) + 1000


def test_short_blocks_are_primed_with_all_before_them() -> None:
    """The window reaches back over several blocks that are shorter than it."""
    line = NOISE[:30_000]
    assert len(raw(line * 2, 1000)) < len(line) + 2000


def test_blocks_cost_little() -> None:
    """Working in parallel costs less than 1 % of the size."""
    source = Path(random.__file__).read_bytes() + Path(gzip.__file__).read_bytes()
    data = (source * 40)[: 3 * BLOCK]
    text = b"".join(b"%d %s\n" % (n, data[n : n + 20].hex().encode()) for n in range(60_000))
    assert len(raw(text, BLOCK)) < len(raw(text, len(text))) * 1.01


def test_empty() -> None:
    """Nothing is a stream too, and a gzip file."""
    assert zlib.decompress(raw(b"", BLOCK), -15) == b""
    assert gzip.decompress(member(b"")) == b""


def test_size_wraps_at_4_gib() -> None:
    """The trailer holds the size modulo 2**32 (RFC 1952)."""
    gib = 2**30
    with TemporaryFile(buffering=0) as file:
        target = deflate.GzipMember(file)
        for _ in range(5):
            target.put(deflate.Block(b"", 0, gib, last=False))
        target.close()
        assert os.pread(file.fileno(), 4, file.tell() - 4) == gib.to_bytes(4, "little")
