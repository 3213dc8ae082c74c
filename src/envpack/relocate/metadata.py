"""Core metadata: URLs whose logins are nobody else's business.

Source: the core metadata specification. What installers put into METADATA is what a build backend
wrote, and that may be a requirement with the URL of a private index. Only the head is edited: a
description that shows how such a URL looks is no secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envpack.model import Edit, Move, View
from envpack.redact import secrets_in
from envpack.relocate.paths import ByName

_MOST = 1 << 20


class MetadataRelocator(ByName):
    """Takes logins and signed queries out of the URLs in the fields of METADATA and PKG-INFO."""

    why = ("credentials in a URL",)
    NAME = re.compile(
        r"lib/python3\.\d+/site-packages/[^/]+\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)"
    )

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> Iterator[Edit]:
        """Take out what lets somebody in."""
        del name, moves
        data = view[0 : min(len(view), _MOST)]
        return (Edit(start, stop, b"", self.why[0]) for start, stop in _secrets(data))


def without_secrets(data: bytes) -> bytes:
    """Return core metadata whose fields have no URL that lets somebody in."""
    pieces, position = [], 0
    for start, stop in _secrets(data):
        pieces.append(data[position:start])
        position = stop
    return b"".join([*pieces, data[position:]])


def _secrets(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where in the fields secrets are."""
    ends = (data.find(mark) for mark in (b"\n\n", b"\r\n\r\n", b"\nDescription:"))
    end = min((end for end in ends if end >= 0), default=len(data))
    start = 0
    for line in data[:end].splitlines(keepends=True):
        if b"//" in line and (b"@" in line or b"=" in line):
            for first, last, _ in secrets_in(line.decode("latin-1")):
                yield start + first, start + last
        start += len(line)
