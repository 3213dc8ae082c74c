"""Members as bytes: checked against their size, and cut anew into blocks of one length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from envpack.kept import Packed, Seam
from envpack.model import Item, LinkKind, Member, Rendered

BLOCK = 1024 * 1024

EXECUTABLE = 0o755
PLAIN = 0o644
SYMLINK = 0o777
DIRECTORY = 0o755


class Run(NamedTuple):
    """Members up to a seam, which is `ends` once they are exhausted; or a run packed before."""

    members: Iterator[Member | Rendered]
    ends: list[Seam]
    packed: Packed | None = None


def runs_of(items: Iterable[Item]) -> Iterator[Run]:
    """Cut a stream of items at its seams; each run must be exhausted before the next is taken."""
    source = iter(items)
    over: list[Packed | None] = []

    def members(ends: list[Seam]) -> Iterator[Member | Rendered]:
        for item in source:
            if isinstance(item, Member | Rendered):
                yield item
            elif isinstance(item, Seam):
                ends.append(item)
                return
            else:
                over.append(item)
                return
        over.append(None)

    while True:
        ends: list[Seam] = []
        yield Run(members(ends), ends)
        if over:
            packed = over.pop()
            if packed is None:
                return
            yield Run(iter(()), [], packed)


def members_of(items: Iterable[Item]) -> Iterator[Member]:
    """Yield the members alone, for formats that know no runs and render nothing."""
    for item in unpacked(items):
        if isinstance(item, Rendered):
            raise TypeError("rendered members are for the format alone that rendered them")
        yield item


def unpacked(items: Iterable[Item]) -> Iterator[Member | Rendered]:
    """Yield members and rendered ones, for formats that know no runs."""
    for item in items:
        if isinstance(item, Member | Rendered):
            yield item
        elif isinstance(item, Packed):
            raise TypeError("a packed run is for the format alone that packed it")


def mode_of(member: Member) -> int:
    """Return the permission bits of `member`, which depend on nothing but the plan."""
    if member.link is not None and member.link.kind is LinkKind.SYMBOLIC:
        return SYMLINK
    return EXECUTABLE if member.executable else PLAIN


def contents(member: Member) -> Iterator[bytes]:
    """Yield the blocks of `member`; raises RuntimeError if they do not sum to its size."""
    left = member.size
    for block in member.blocks:
        left -= len(block)
        if left < 0:
            break
        yield block
    if left:
        raise RuntimeError(f"the blocks of `{member.name}` do not sum to {member.size} bytes")


def gathered(pieces: Iterable[bytes], block: int = BLOCK) -> Iterator[bytes]:
    """Yield the same bytes in blocks of exactly `block` bytes; only the last may be shorter.

    No pieces, or only empty ones, give no block.
    """
    held: list[bytes | memoryview] = []
    room = block
    for piece in pieces:
        rest = memoryview(piece)
        while len(rest) >= room:
            held.append(rest[:room])
            rest = rest[room:]
            yield b"".join(held)
            held.clear()
            room = block
        if rest:
            held.append(rest)
            room -= len(rest)
    if held:
        yield b"".join(held)
