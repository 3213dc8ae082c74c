"""RECORD and direct_url.json as they must be in the archive.

Sources: the *recording installed projects* specification, PEP 610, PEP 376's csv dialect.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from envpack.distributions import RecordRow
from envpack.model import Derived, Digests

_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/@]*@", re.IGNORECASE)


def derived_record(rows: Sequence[RecordRow], own_name: str) -> Derived:
    """Return a RECORD as content; `own_name` is its own name in the archive."""
    names = [row.name for row in rows if row.name is not None and row.name != own_name]
    paths = "\0".join([row.path for row in rows]).encode("utf-8", "surrogateescape")
    seed = hashlib.sha256(paths).hexdigest()
    return Derived(record_maker(rows, own_name), tuple(names), seed)


def record_maker(rows: Sequence[RecordRow], own_name: str) -> Callable[[Digests], bytes]:
    """Return the maker of a RECORD from the digests of the members it names.

    Rows whose file is not in the archive are dropped, all others carry the sha256 and the size of
    what was really written, so that a file that was edited, here or by the user, verifies.
    `own_name` is RECORD's own name in the archive, whose row has neither.
    """

    def make(digests: Digests) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        for row in rows:
            if row.name == own_name:
                writer.writerow((row.path, "", ""))
            elif row.name is not None and row.name in digests:
                digest = digests[row.name]
                writer.writerow((row.path, f"sha256={_urlsafe(digest.sha256)}", digest.size))
        return text.getvalue().encode("utf-8", "surrogateescape")

    return make


def _urlsafe(sha256: str) -> str:
    return base64.urlsafe_b64encode(binascii.unhexlify(sha256)).rstrip(b"=").decode()


def names_local_path(direct_url: dict[str, Any]) -> bool:
    """Say whether a direct_url.json leads to a path of the machine it was written on."""
    url = direct_url.get("url")
    return isinstance(url, str) and (url.startswith("file:") or "://" not in url)


def without_credentials(direct_url: dict[str, Any]) -> bytes | None:
    """Return direct_url.json without user and password, None if it holds none.

    `git@` alone is the name of an account that everybody uses, no secret, and stays (PEP 610).
    """
    url = direct_url.get("url")
    if not isinstance(url, str):
        return None
    found = _USERINFO.match(url)
    if found is None or found[0].endswith("://git@"):
        return None
    scrubbed = {**direct_url, "url": found[1] + url[found.end() :]}
    return json.dumps(scrubbed, ensure_ascii=False).encode()
