"""The core metadata of distribution files: METADATA of a wheel, PKG-INFO of an sdist.

Sources: the *binary distribution format* and the *source distribution format* specifications.
"""

from __future__ import annotations

import os
import re
from email.parser import BytesHeaderParser
from email.policy import compat32

from envpack.archive.read import members
from envpack.errors import ProjectFault

_WHEEL = re.compile(r"[^/]+\.dist-info/METADATA")
_SDIST = re.compile(r"[^/]+/PKG-INFO")
_MOST = 16 << 20
"""Bytes that core metadata may have; a long description comes to some hundred thousand."""


def core_metadata(path: str) -> bytes:
    """Return the core metadata in a wheel or an sdist, b"" if an sdist has none.

    Raises ProjectFault for a damaged file, and for a wheel without it.
    """
    is_wheel = path.endswith(".whl")
    wanted = _WHEEL if is_wheel else _SDIST
    for member in members(path):
        if member.link is None and wanted.fullmatch(member.name):
            return member.whole(_MOST)
    if is_wheel:
        raise ProjectFault(f"`{os.path.basename(path)}` holds no METADATA, so it is no wheel")
    return b""


def fields(metadata: bytes) -> list[tuple[str, str]]:
    """Return the fields of core metadata, or of WHEEL, in their order."""
    found = BytesHeaderParser(policy=compat32).parsebytes(metadata).items()
    return [(key, " ".join(str(value).split())) for key, value in found]


def field(metadata: bytes, name: str) -> str:
    """Return one field of core metadata, "" without it."""
    return next((value for key, value in fields(metadata) if key == name), "")
