"""The search for paths of the build machine in bytes that arrive block by block."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile

_TELLING = 6
"""Bytes that a shared beginning must have to be rare enough: `/home/` is."""

_SHORT = 16
"""Shorter words are found faster from the end: forwards CPython takes the two-way algorithm."""


class LeakSearch:
    """Finds any of some absolute paths in one stream of bytes, whole components only.

    A path of a single component, such as `/app`, is too common a word to be taken for a path in
    the middle of another: there what stands before it must not be part of a name.
    """

    def __init__(self, needles: Sequence[str]) -> None:
        self._needles = [os.fsencode(needle) for needle in needles if len(needle) > 1]
        self._patterns = [_pattern(needle) for needle in self._needles]
        self._least = _shared(self._needles)
        self._overlap = max((len(needle) for needle in self._needles), default=0) + 4

    def in_whole(self, data: bytes) -> dict[str, int]:
        """Count the needles in a file that is in memory whole."""
        if not _has_any(data, self._least):
            return {}
        pairs = zip(self._needles, self._patterns, strict=True)
        return _counts(data, pairs, 0, len(data))

    def stream(self) -> LeakStream:
        """Start a search over the blocks of one file."""
        return LeakStream(self._needles, self._patterns, self._least, self._overlap)


class LeakStream:
    """One search over blocks; `found` is complete once `feed` was called with `last`."""

    def __init__(
        self,
        needles: list[bytes],
        patterns: list[re.Pattern[bytes]],
        least: tuple[bytes, ...],
        overlap: int,
    ) -> None:
        self._needles = needles
        self._patterns = patterns
        self._least = least
        self._overlap = overlap
        self._kept = b""
        self._begin = 0
        self.found: Counter[str] = Counter()

    def feed(self, block: bytes, *, last: bool = False) -> None:
        """Search the next block; `last` also looks at what was kept back at the end.

        The last bytes of each block are kept for the next round, as a path may go on there, and
        as many before them, because what stands before a path counts as well.
        """
        before = len(self._kept)
        length = before + len(block)
        stop = length if last else max(self._begin, length - self._overlap)
        seam = self._kept + block[: self._overlap]
        if _has_any(seam, self._least) or _has_any(block, self._least):
            pairs = zip(self._needles, self._patterns, strict=True)
            self.found.update(_counts(self._kept + block, pairs, self._begin, stop))
        start = max(0, stop - 4)
        self._kept = block[start - before :] if start >= before else self._kept[start:] + block
        self._begin = stop - start


def _counts(
    data: bytes, pairs: Iterable[tuple[bytes, re.Pattern[bytes]]], begin: int, stop: int
) -> dict[str, int]:
    """Count the needles that begin in `data[begin:stop]`, by their patterns."""
    found: dict[str, int] = {}
    for needle, pattern in pairs:
        if needle in data:
            count = sum(begin <= match.start() < stop for match in pattern.finditer(data))
            if count:
                found[os.fsdecode(needle)] = count
    return found


def _has_any(data: bytes, words: Iterable[bytes]) -> bool:
    """Say whether one of the words is in `data`."""
    return any(data.rfind(word) >= 0 if len(word) < _SHORT else word in data for word in words)


def _shared(needles: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the fewest strings of which one is in whatever has any of the needles.

    What all begin with, if that is more than a word or two; else those that begin with no other.
    """
    first, last = min(needles, default=b""), max(needles, default=b"")
    pairs = zip(first, last, strict=False)
    length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    if length >= _TELLING:
        return (first[:length],)
    starts = {one for one in needles if not any(one != s and one.startswith(s) for s in needles)}
    return tuple(sorted(starts))


def _pattern(needle: bytes) -> re.Pattern[bytes]:
    before = rb"(?<![\w.~-])" if needle.count(b"/") == 1 else b""
    return re.compile(before + re.escape(needle) + rb"(?![\w+~-]|\.\w)")
