"""RECORD and direct_url.json as they must be in the archive.

Sources: the *recording installed projects* specification, PEP 610, PEP 376's csv dialect.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from envpack.distributions import RecordRow
from envpack.model import Derived, Digests
from envpack.redact import all_stripped

_QUOTED = re.compile(r'[",\r\n]')
_ALPHABET = bytes.maketrans(b"+/", b"-_")


class Record(NamedTuple):
    """A RECORD to be made: its own name in the archive, and what reads its rows."""

    name: str
    rows: Callable[[], Iterable[RecordRow]]

    def content(self, beyond: frozenset[str], seed: str) -> Derived:
        """Return it as content that asks other runs for the digests of `beyond`.

        Rows whose file is not in the archive are dropped, all others carry the sha256 and the size
        of what was really written, so that a file that was edited, here or by the user, verifies.
        Its own row has neither. `seed` is as in Derived.
        """
        return Derived(partial(rewritten, self.rows, self.name), beyond, seed)


def rewritten(rows: Callable[[], Iterable[RecordRow]], own_name: str, digests: Digests) -> bytes:
    """Return a RECORD of the rows whose names are in `digests`."""
    lines: list[str] = []
    for path, name in rows():
        if name == own_name:
            lines.append(f"{_field(path)},,\n")
        elif name is not None and (digest := digests.get(name)) is not None:
            lines.append(f"{_field(path)},sha256={_urlsafe(digest.sha256)},{digest.size}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def _field(path: str) -> str:
    """Return a path as a field of csv (RFC 4180 2): few need quotes."""
    return path if _QUOTED.search(path) is None else '"' + path.replace('"', '""') + '"'


def _urlsafe(sha256: str) -> str:
    """Return a hash as RECORD has it: base64 in the alphabet for URLs, without padding."""
    text = binascii.b2a_base64(bytes.fromhex(sha256), newline=False)
    return text.translate(_ALPHABET, b"=").decode("ascii")


def names_local_path(direct_url: dict[str, Any]) -> bool:
    """Say whether a direct_url.json leads to a path of the machine it was written on."""
    url = direct_url.get("url")
    return isinstance(url, str) and (url.startswith("file:") or "://" not in url)


def without_credentials(value: dict[str, Any]) -> bytes | None:
    """Return a file that an installer wrote without the secrets in its URLs, None if it has none.

    That is direct_url.json or provenance_url.json (PEP 610, PEP 710), whatever its fields.
    """
    clean = all_stripped(value)
    return None if clean == value else json.dumps(clean).encode()
