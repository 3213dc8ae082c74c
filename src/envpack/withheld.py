"""What an environment has of its user and of tools, and no package: keys, logins, their settings.

What a RECORD names with a fitting hash is somebody's package and stays, whatever it holds: test
suites ship keys. The content of other files is looked at, which are few. Mode is no reason: under
umask 077 all files are their owner's alone.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from envpack import foreign
from envpack.distributions import Distribution, name_in_prefix
from envpack.draft import INTERPRETER, REST, Draft
from envpack.editable import Replacement
from envpack.editable_hooks import lies_in
from envpack.errors import EnvpackError
from envpack.model import EditableForm, Reason
from envpack.redact import has_secrets, is_secret_name
from envpack.secret_files import (
    HEAD,
    is_named_so,
    is_secret,
    is_setting,
    is_token,
    may_be_named_so,
    may_tell,
)
from envpack.select import Filter, excluded

_VERSIONED = re.compile(r"(?:^|/)(?:\.git|\.hg|\.svn|\.bzr|_darcs|CVS)(?:/|$)")
_RECEIPTS = frozenset({"uv-receipt.toml", "pipx_metadata.json"})
_KERNEL = re.compile(r"share/jupyter/kernels/[^/]+/kernel\.json")
_NAMES = 3
"""Names at the end of a path by which files of secrets are known, as in .config/gh/hosts.yml."""
_PLAIN_VALUE = re.compile(r"|[/$].*|\d+|true|false|yes|no", re.IGNORECASE | re.DOTALL)


class Found(NamedTuple):
    """A file that may have to stay out; `info` is the metadata of the distribution it stands at."""

    name: str
    path: str
    info: str


def withhold(
    draft: Draft,
    distributions: Sequence[Distribution],
    replacements: Sequence[Replacement],
    stdlib: str,
    filters: Sequence[Filter],
) -> tuple[str, ...]:
    """Take out what is nobody's package and may hold secrets, and settings of tools.

    A filter that includes a file keeps it. Of `replacements` those are looked through whose files
    come from their sources; `stdlib` is the interpreter's library. Returns a sentence for each file
    that may hold secrets, be it out or in.
    """
    editables = (each.editable for each in replacements)
    copied = frozenset(each.name for each in editables if each.form is EditableForm.COPIED)
    recorded = _Recorded(distributions)
    reasons: dict[str, Reason] = {}
    told: list[str] = []
    private: list[str] = []
    open_to_others = _is_open(os.path.join(draft.known[0], "pyvenv.cfg"))
    for found, rest in _candidates(draft, copied, f"{stdlib}/"):
        if _KERNEL.fullmatch(found.name):
            told += _told_of_kernel(found)
        if recorded.fits(found):
            continue
        look = rest or may_be_named_so(os.path.basename(found.name))
        reason = _reason(found, draft.known, look=look)
        if reason is None or not excluded(found.name, filters, out=True):
            if reason is Reason.SECRETS:
                told.append(f"`{found.name}` may hold secrets, and goes in as --include says")
            elif rest and reason is None:
                told += _told_of_urls(found)
                if open_to_others and not _is_open(found.path):
                    private.append(found.name)
        else:
            reasons[found.name] = reason
    for name, real in draft.outside:
        if name in draft and _is_guarded(real) and excluded(name, filters, out=True):
            reasons[name] = Reason.SECRETS
    if reasons:
        draft.remove_all(lambda name, _: reasons.get(name))
    out = sorted(name for name, reason in reasons.items() if reason is Reason.SECRETS)
    told += [f"`{name}` may hold secrets, and stays out" for name in out]
    told += [f"`{name}` can be read by its owner alone, and goes in" for name in sorted(private)]
    return tuple(told)


def _candidates(draft: Draft, copied: frozenset[str], stdlib: str) -> Iterator[tuple[Found, bool]]:
    """Yield the files worth a look, and whether they are nobody's.

    Those are looked into; of what stands at a distribution, or in an interpreter that may hold more
    than Python, only names count.
    """
    for place, origin, files in draft.groups():
        rest = place == REST and origin == "environment"
        if not rest and origin not in {"environment", "interpreter", *copied}:
            continue
        for name, path in files:
            if place == INTERPRETER and name.startswith(stdlib):
                break  # so are all of the group
            base = name.rpartition("/")[2]
            if rest or may_be_named_so(base) or "/.git/" in name or "/.hg/" in name:
                yield Found(name, path, place.info), rest


def _reason(found: Found, known: tuple[str, ...], *, look: bool) -> Reason | None:
    """Say why a file that no RECORD names stays out; `known` is what it should lie in."""
    name = found.name
    if _VERSIONED.search(name):
        return Reason.VERSION_CONTROL
    if is_setting(name) or name in _RECEIPTS or os.path.basename(name) in {"pip.conf", "pip.ini"}:
        return Reason.SETTINGS
    # Of what a link leads to its last names count; where the environment lies says nothing.
    away = not any(lies_in(found.path, root) for root in known)
    end = "/".join(os.path.realpath(found.path).split("/")[-_NAMES:]) if away else name
    if is_named_so(name) or is_named_so(end):
        return Reason.SECRETS
    if look and is_secret(name, lambda: foreign.head_of(found.path, HEAD)):
        return Reason.SECRETS
    return None


def _told_of_urls(found: Found) -> Iterator[str]:
    """Say that a small text that stays in has a URL with a secret."""
    if not may_tell(found.name) or found.name.startswith("bin/"):
        return
    head = foreign.head_of(found.path, HEAD)
    if b"//" in head and b"\0" not in head and has_secrets(head.decode("utf-8", "replace")):
        yield f"`{found.name}` has a URL with a login or a token, and goes in"


def _told_of_kernel(found: Found) -> Iterator[str]:
    """Say which variables that a Jupyter kernel is started with look like secrets."""
    try:
        spec = foreign.read_json(found.path)
    except EnvpackError:
        return
    variables = spec.get("env") if isinstance(spec, dict) else None
    for name, value in variables.items() if isinstance(variables, dict) else ():
        plain = not isinstance(value, str) or _PLAIN_VALUE.fullmatch(value)
        if not plain and (is_secret_name(name) or is_token(value) or has_secrets(value)):
            yield f"`{found.name}` sets `{name}`, which looks like a secret, and goes in"


class _Recorded:
    """What RECORD files say of files, each read when it is first asked for."""

    def __init__(self, distributions: Sequence[Distribution]) -> None:
        self._by_info = {dist.info: dist for dist in distributions}
        self._read: dict[str, Mapping[str, str]] = {}

    def fits(self, found: Found) -> bool:
        """Say whether a distribution installed these bytes."""
        dist = self._by_info.get(found.info)
        if dist is None or not dist.record:
            return False
        if dist.info not in self._read:
            self._read[dist.info] = _hashes(dist)
        wanted = self._read[dist.info].get(found.name, "")
        kind, _, value = wanted.partition("=")
        if kind not in {"sha256", "sha384", "sha512"} or not value:
            return False
        try:
            with open(found.path, "rb") as file:
                digest = hashlib.file_digest(file, kind).digest()
        except OSError:
            return False
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == value.rstrip("=")


def _hashes(dist: Distribution) -> dict[str, str]:
    text = foreign.read_text(dist.record, errors="surrogateescape") or ""
    rows = foreign.parsed_csv(text, dist.record)
    return {
        name: row[1]
        for row in rows
        if len(row) > 1 and (name := name_in_prefix(dist.site_packages, row[0])) is not None
    }


def _is_open(path: str) -> bool:
    """Say whether anybody but the owner may read a file; so too where nobody can tell."""
    try:
        return bool(os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return True


def _is_guarded(path: str) -> bool:
    """Say whether a file of root's is kept from others, in a folder that is not: /etc/shadow is."""
    try:
        status = os.stat(path)
        above = os.stat(os.path.dirname(path))
    except OSError:
        return False
    hidden = stat.S_ISREG(status.st_mode) and not status.st_mode & stat.S_IROTH
    return hidden and status.st_uid == 0 and bool(above.st_mode & stat.S_IXOTH)
