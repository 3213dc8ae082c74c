"""Long lists in little memory: rows kept as bytes, a tenth of what Python's objects take."""

from __future__ import annotations

import marshal
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeAlias

from envpack.model import Digest, LeftOut, Reason

Row: TypeAlias = tuple[Any, ...]
"""What `marshal` can hold: numbers, texts, bytes, None."""

_CHUNK = 512
_LEVEL = 1
_DIGEST = struct.Struct("<32sQ")
_SOME = 512 * _DIGEST.size


def packed(rows: list[Row]) -> bytes:
    """Return rows as bytes, for `unpacked` in the same process."""
    return marshal.dumps(rows)


def unpacked(data: bytes) -> list[Row]:
    """Return the rows that `packed` made bytes of."""
    rows: list[Row] = marshal.loads(data)  # noqa: S302 - our own bytes
    return rows


class LeftOuts(Collection[LeftOut]):
    """What stays out of a plan, in the order in which it was found."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._open: list[Row] = []
        self._count = 0

    def append(self, item: LeftOut) -> None:
        """Add one."""
        self._open.append((item.name, item.reason.name, item.size))
        self._count += 1
        if len(self._open) == _CHUNK:
            self._chunks.append(zlib.compress(packed(self._open), _LEVEL))
            self._open = []

    def extend(self, prefix: str, files: Iterable[Row], reason: Reason) -> None:
        """Add files of one folder, rows of a `Piece`; `prefix` comes before their names."""
        for row in files:
            self.append(LeftOut(prefix + row[0], reason, row[2]))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[LeftOut]:
        for chunk in self._chunks:
            for name, reason, size in unpacked(zlib.decompress(chunk)):
                yield LeftOut(name, Reason[reason], size)
        for name, reason, size in self._open:
            yield LeftOut(name, Reason[reason], size)

    def __contains__(self, item: object) -> bool:
        return any(item == other for other in self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LeftOuts):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class DigestList:
    """The digests of members, in their order: 40 bytes each."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)

    @property
    def data(self) -> bytes:
        """All as bytes, from which the same list can be made."""
        return bytes(self._data)

    @property
    def last(self) -> Digest:
        """The digest that was added last."""
        sha256, size = _DIGEST.unpack(self._data[-_DIGEST.size :])
        return Digest(sha256.hex(), size)

    def append(self, digest: Digest) -> None:
        """Add one."""
        self._data += _DIGEST.pack(bytes.fromhex(digest.sha256), digest.size)

    def extend(self, other: DigestList) -> None:
        """Add all of another list."""
        self._data += other._data

    def __len__(self) -> int:
        return len(self._data) // _DIGEST.size

    def __iter__(self) -> Iterator[Digest]:
        position = 0
        while position < len(self._data):
            for sha256, size in _DIGEST.iter_unpack(self._data[position : position + _SOME]):
                yield Digest(sha256.hex(), size)
            position += _SOME
