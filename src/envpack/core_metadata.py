"""The core metadata of distribution files: METADATA of a wheel, PKG-INFO of an sdist.

Sources: the *binary distribution format* and the *source distribution format* specifications.
"""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from email.parser import BytesHeaderParser
from email.policy import compat32
from typing import IO

from envpack.errors import ProjectFault
from envpack.foreign import MOST, described

_WHEEL = re.compile(r"[^/]+\.dist-info/METADATA")
_SDIST = re.compile(r"[^/]+/PKG-INFO")


def core_metadata(path: str) -> bytes:
    """Return the core metadata in a wheel or an sdist, b"" if an sdist has none.

    Raises ProjectFault for a damaged file, and for a wheel without it.
    """
    with described(os.path.basename(path), "damaged", ProjectFault):
        if path.endswith(".whl"):
            return _of_wheel(path)
        return _of_zip(path, _SDIST) if zipfile.is_zipfile(path) else _of_tar(path)


def fields(metadata: bytes) -> list[tuple[str, str]]:
    """Return the fields of core metadata, or of WHEEL, in their order."""
    found = BytesHeaderParser(policy=compat32).parsebytes(metadata).items()
    return [(key, " ".join(str(value).split())) for key, value in found]


def field(metadata: bytes, name: str) -> str:
    """Return one field of core metadata, "" without it."""
    return next((value for key, value in fields(metadata) if key == name), "")


def _of_wheel(path: str) -> bytes:
    data = _of_zip(path, _WHEEL)
    if not data:
        raise ProjectFault(f"`{os.path.basename(path)}` holds no METADATA, so it is no wheel")
    return data


def _of_zip(path: str, wanted: re.Pattern[str]) -> bytes:
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if wanted.fullmatch(name)), None)
        if not name:
            return b""
        with archive.open(name) as file:
            return _bounded(file)


def _of_tar(path: str) -> bytes:
    with tarfile.open(path) as archive:
        for member in archive:
            if _SDIST.fullmatch(member.name) and (data := archive.extractfile(member)):
                return _bounded(data)
    return b""


def _bounded(file: IO[bytes]) -> bytes:
    data = file.read(MOST + 1)
    if len(data) > MOST:
        raise ValueError(f"its metadata is larger than {MOST >> 20} MiB")
    return data
