"""The records of a zip archive, as PKWARE's APPNOTE 6.3.10 has them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_LOCAL_SIGNATURE = 0x04034B50
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_CENTRAL_SIGNATURE = 0x02014B50
_END = struct.Struct("<IHHHHIIH")
_END_SIGNATURE = 0x06054B50
_END_64 = struct.Struct("<IQHHIIQQQQ")
_END_64_SIGNATURE = 0x06064B50
_LOCATOR_64 = struct.Struct("<IIQI")
_LOCATOR_64_SIGNATURE = 0x07064B50
"""4.3.7, 4.3.12, 4.3.16, 4.3.14 and 4.3.15."""

MAX_32 = 0xFFFFFFFF
MAX_16 = 0xFFFF
"""In a field: the value is in the zip64 record (4.4.1.4)."""

_EXTRA_64 = 0x0001
STORED = 0
DEFLATED = 8
_UTF_8 = 1 << 11
_UNIX = 3 << 8
_VERSION = 20
_VERSION_64 = 45
"""4.5.3, 4.4.5, 4.4.4 bit 11, 4.4.2 and 4.4.3."""

_DOS_FIRST = 315532800
_DOS_LAST = 4354819198
"""1980-01-01 00:00:00 and 2107-12-31 23:59:58 UTC, the ends of a DOS date (4.4.6)."""

_KEPT = ("flags", "mode", "method", "dos_time", "dos_date", "wide", "crc", "packed", "size")


@dataclass(slots=True)
class Record:
    """What the local and the central header say of one member; `wide` if sizes need zip64."""

    name: bytes
    flags: int
    mode: int
    method: int
    dos_time: int
    dos_date: int
    offset: int
    wide: bool
    crc: int = 0
    packed: int = 0
    size: int = 0

    def facts(self, start: int) -> list[Any]:
        """Return what a run that begins at `start` must keep of it, in JSON's types."""
        values = [getattr(self, name) for name in _KEPT]
        name = self.name.decode("utf-8", "surrogateescape")
        return [name, self.offset - start, *values]

    @classmethod
    def of(cls, facts: list[Any], start: int) -> Record:
        """Return what `facts` told, in a run that begins at `start` now."""
        name, offset, *values = facts
        own = dict(zip(_KEPT, values, strict=True))
        return cls(name.encode("utf-8", "surrogateescape"), offset=start + offset, **own)

    def local(self) -> bytes:
        """Return the local file header (4.3.7)."""
        extra = _extra_64((self.size, self.packed) if self.wide else ())
        return (
            _LOCAL.pack(
                _LOCAL_SIGNATURE,
                _VERSION_64 if self.wide else _VERSION,
                *self._shared(),
                len(self.name),
                len(extra),
            )
            + self.name
            + extra
        )

    def central(self, limit: int) -> bytes:
        """Return the central directory header (4.3.12)."""
        far = self.offset >= limit
        sizes = (self.size, self.packed) if self.wide else ()
        extra = _extra_64((*sizes, self.offset) if far else sizes)
        version = _VERSION_64 if extra else _VERSION
        return (
            _CENTRAL.pack(
                _CENTRAL_SIGNATURE,
                _UNIX | version,
                version,
                *self._shared(),
                len(self.name),
                len(extra),
                0,
                0,
                0,
                self.mode << 16,
                MAX_32 if far else self.offset,
            )
            + self.name
            + extra
        )

    def _shared(self) -> tuple[int, ...]:
        """Return the fields from the flags to the uncompressed size, the same in both headers."""
        packed, size = (MAX_32, MAX_32) if self.wide else (self.packed, self.size)
        return self.flags, self.method, self.dos_time, self.dos_date, self.crc, packed, size


def _extra_64(values: tuple[int, ...]) -> bytes:
    """Return the zip64 extended information field (4.5.3), nothing for no values."""
    if not values:
        return b""
    return struct.pack(f"<HH{len(values)}Q", _EXTRA_64, 8 * len(values), *values)


def dos_time(mtime: int) -> tuple[int, int]:
    """Return time and date as DOS has them (4.4.6), in UTC, to two seconds."""
    when = datetime.fromtimestamp(min(max(mtime, _DOS_FIRST), _DOS_LAST), UTC)
    time = when.hour << 11 | when.minute << 5 | when.second // 2
    return time, when.year - 1980 << 9 | when.month << 5 | when.day


def name_and_flags(text: str) -> tuple[bytes, int]:
    """Return a name and its flags; bytes that are no UTF-8 are not called UTF-8."""
    try:
        name = text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape"), 0
    return name, 0 if name.isascii() else _UTF_8


def end_records(count: int, size: int, start: int, limit: int, many: int) -> bytes:
    """Return what ends an archive: zip64's records where they are needed, and the common one."""
    crowded, large, far = count >= many, size >= limit, start >= limit
    records = b""
    if crowded or large or far:
        version = _UNIX | _VERSION_64, _VERSION_64
        length = _END_64.size - 12
        counts = (0, 0, count, count, size, start)
        records += _END_64.pack(_END_64_SIGNATURE, length, *version, *counts)
        records += _LOCATOR_64.pack(_LOCATOR_64_SIGNATURE, 0, start + size, 1)
    count = MAX_16 if crowded else count
    size, start = MAX_32 if large else size, MAX_32 if far else start
    return records + _END.pack(_END_SIGNATURE, 0, 0, count, count, size, start, 0)
