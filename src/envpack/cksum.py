"""The checksum of POSIX's `cksum`, which every Unix can compare without Python.

Source: POSIX.1-2017, cksum: a CRC with the polynomial of ISO 8802-3, over the octets and then the
length, least significant octet first, complemented.
"""

from __future__ import annotations

_POLYNOMIAL = 0x04C11DB7
_TOP = 0x80000000
_MASK = 0xFFFFFFFF


def _row(value: int) -> int:
    value <<= 24
    for _ in range(8):
        value = ((value << 1) ^ _POLYNOMIAL if value & _TOP else value << 1) & _MASK
    return value


_TABLE = tuple(map(_row, range(256)))


def cksum(data: bytes) -> int:
    """Return the first number that `cksum` prints for `data`; made for kilobytes."""
    length = len(data)
    size = length.to_bytes((length.bit_length() + 7) // 8, "little")
    total = 0
    for octet in data + size:
        total = ((total << 8) & _MASK) ^ _TABLE[(total >> 24) ^ octet]
    return total ^ _MASK
