"""`share/envpack/manifest.json`: what the archive holds, and the digest that identifies it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from envpack.interpreter import Interpreter
from envpack.libraries import HostData, Libraries, Need, Wish
from envpack.model import Digest, Editable, Head, LeftOut, Package

NAME = "share/envpack/manifest.json"
SCHEMA = "envpack.manifest/1"
_quoted = json.encoder.encode_basestring_ascii


class Told(NamedTuple):
    """What is told of neighbouring members.

    `lines` are what the content digest is made of: name, mode, kind and sha256 of each. An alias is
    one in whatever way it is stored. `rows` are the manifest's, with commas between them.
    """

    lines: bytes = b""
    rows: bytes = b""


def tell(heads: Iterable[Head], digests: Iterable[Digest]) -> Told:
    """Return what is told of members."""
    lines, rows = [], []
    for (name, executable, alias), (sha256, size) in zip(heads, digests, strict=True):
        kind = "alias" if alias else "file"
        lines.append(f"{name}\0{'755' if executable else '644'}\0{kind}\0{sha256}\n")
        rows.append(
            f'{_quoted(name)}:{{"sha256":"{sha256}","size":{size}'
            f',"executable":{"true" if executable else "false"}}}'
        )
    return Told("".join(lines).encode("utf-8", "surrogateescape"), ",".join(rows).encode())


def describe_interpreter(interpreter: Interpreter) -> dict[str, Any]:
    """Return what manifest and report say of an interpreter; no path of the build machine."""
    return {
        "implementation": "CPython",
        "version": interpreter.version,
        "build": interpreter.build,
        "managed": interpreter.managed,
        **({"replaces": interpreter.replaces} if interpreter.replaces else {}),
    }


def describe_editable(editable: Editable) -> dict[str, str]:
    """Return what manifest and report say of an editable that became real files."""
    return {
        "name": editable.name,
        "version": editable.version,
        "form": editable.form.value,
        "backend": editable.backend,
        "note": editable.note,
    }


def describe_libraries(libraries: Libraries) -> dict[str, Any]:
    """Return what manifest and report say of shared libraries."""
    return {
        "floor": list(libraries.floor),
        "glibc": _describe_need(libraries.glibc),
        "glibcxx": _describe_need(libraries.glibcxx),
        "raised": libraries.raised or None,
        "carried": list(libraries.carried),
        "host": _describe_wishes((*libraries.lacking, *libraries.host)),
        "lacking": _describe_wishes(libraries.lacking),
        "missing": _describe_wishes(libraries.missing),
        "licences": [
            {"file": one.file, "package": one.package or None, "licence": one.licence or None}
            for one in libraries.licences
        ],
        "certificates": _describe_data(libraries.certificates),
        "time_zones": _describe_data(libraries.time_zones),
    }


def _describe_data(data: HostData | None) -> dict[str, Any] | None:
    return None if data is None else {"file": data.file, "source": data.source, "count": data.count}


def _describe_wishes(wishes: Iterable[Wish]) -> list[dict[str, str]]:
    return [{"soname": wish.soname, "file": wish.file} for wish in wishes]


def _describe_need(need: Need | None) -> dict[str, str] | None:
    return None if need is None else {"version": need.version, "file": need.file}


def describe_left_out(left_out: Iterable[LeftOut]) -> list[dict[str, Any]]:
    """Return files and bytes left out, by reason, largest first."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for item in left_out:
        files[item.reason.value] += 1
        sizes[item.reason.value] += item.size
    ranked = sorted(files, key=lambda reason: (-sizes[reason], reason))
    return [{"reason": r, "files": files[r], "bytes": sizes[r]} for r in ranked]


def manifest_maker(
    interpreter: Interpreter,
    packages: Sequence[Package],
    editables: Sequence[Editable],
    libraries: Libraries,
    version: str,
) -> Callable[[str], tuple[bytes, bytes]]:
    """Return what makes, from the archive's digest, what stands before and behind the rows.

    `version` is envpack's own.
    """

    def make(digest: str) -> tuple[bytes, bytes]:
        about = {
            "schema": SCHEMA,
            "envpack": version,
            "digest": digest,
            "platform": str(interpreter.target),
            "interpreter": describe_interpreter(interpreter),
            "packages": [{"name": p.name, "version": p.version} for p in packages],
            "editables": [describe_editable(editable) for editable in editables],
            "libraries": describe_libraries(libraries),
            "files": {},
        }
        end = "}}"
        return _json(about).removesuffix(end).encode(), f"{end}\n".encode()

    return make


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
