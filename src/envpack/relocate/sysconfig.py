"""What `sysconfig`, pkg-config and make know of the prefix they were built for.

Sources: CPython's `Lib/sysconfig`, `Misc/python-config.sh.in`, `Misc/python.pc.in`, PEP 739.
`_sysconfigdata*` becomes relative to the running interpreter; what only a file's own place could
tell (`*.pc`, `python*-config`) uses that; what can be neither (JSON, Makefile) gets the neutral
prefix that python-build-standalone uses.
"""

from __future__ import annotations

import ast
import json
import os
import posixpath
import re
from collections.abc import Iterator

from envpack.model import Edit, Move, View
from envpack.relocate.paths import ByName, finder, olds

NEUTRAL = "/install"
_PLACEHOLDER = "{envpack:prefix}"
_FOOTER = f"""

def _envpack_relocate():
    import sys

    for key, value in build_time_vars.items():
        if isinstance(value, str) and {_PLACEHOLDER!r} in value:
            build_time_vars[key] = value.replace({_PLACEHOLDER!r}, sys.base_prefix)


_envpack_relocate()
"""


class SysconfigDataRelocator(ByName):
    """Makes `_sysconfigdata*.py` fill in `sys.base_prefix` when it is imported.

    base_prefix, not prefix: in a virtual environment made from the archive the headers and
    libraries are still the archive's.
    """

    why = ("sysconfig",)
    NAME = re.compile(r"lib/python3\.\d+/_sysconfigdata_\w*[\w-]*\.py")

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> Iterator[Edit]:
        """Rewrite the dictionary whole: pprint may have split a path over two literals."""
        del name
        data = view[0 : len(view)]
        variables = _build_time_vars(data)
        if variables is None:
            return
        recorded = variables.get("prefix")
        paths = olds(moves)
        if isinstance(recorded, str) and recorded.startswith("/"):
            paths = (*paths, recorded)
        pattern = finder(paths)
        changed = {key: _placed(value, pattern) for key, value in variables.items()}
        if changed == variables:
            return
        lines = [f"    {key!r}: {value!r},\n" for key, value in changed.items()]
        text = "# system configuration generated and used by the sysconfig module\n"
        text += "build_time_vars = {\n" + "".join(lines) + "}\n" + _FOOTER
        yield Edit(0, len(data), text.encode("utf-8", "surrogateescape"), self.why[0])


def _build_time_vars(data: bytes) -> dict[str, object] | None:
    try:
        tree = ast.parse(data)
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                value = ast.literal_eval(node.value)
                return value if isinstance(value, dict) else None
    except (SyntaxError, ValueError):
        return None
    return None


def _placed(value: object, pattern: re.Pattern[bytes]) -> object:
    if not isinstance(value, str):
        return value
    data = pattern.sub(lambda _: _PLACEHOLDER.encode(), os.fsencode(value))
    return os.fsdecode(data)


class _TextRelocator(ByName):
    """Replaces every path of the build machine in a small text file by what `new` says."""

    why: tuple[str, ...]

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> Iterator[Edit]:
        """Replace each path, and the one the file says it was installed to."""
        data = view[0 : len(view)]
        paths = (*olds(moves), *self.recorded(data))
        new = self.new(name)
        for match in finder(paths).finditer(data):
            if match[0] != new:
                yield Edit(match.start(), match.end(), new, self.why[0])

    def recorded(self, data: bytes) -> tuple[str, ...]:
        del data
        return ()

    def new(self, name: str) -> bytes:
        raise NotImplementedError


class PkgConfigRelocator(_TextRelocator):
    """Makes `*.pc` files relative to their own directory, pkg-config's `${pcfiledir}`."""

    why = ("pkg-config",)
    NAME = re.compile(r"(?s:.*)\.pc")
    _PREFIX = re.compile(rb"^prefix=(/\S*)$", re.MULTILINE)

    def recorded(self, data: bytes) -> tuple[str, ...]:
        """Return the neutral prefix if that is what the file still says."""
        found = self._PREFIX.search(data)
        return (NEUTRAL,) if found and found[1] == NEUTRAL.encode() else ()

    def new(self, name: str) -> bytes:
        """Return the archive's root as seen from the file."""
        return b"${pcfiledir}/" + posixpath.relpath(".", posixpath.dirname(name)).encode()


class PythonConfigRelocator(_TextRelocator):
    """Lets `python3.N-config` use the prefix that it finds out by itself, blanks in it or not."""

    why = ("python-config",)
    NAME = re.compile(r"bin/python(?s:.*)-config")
    _QUOTING = (
        (
            b'$(dirname $(cd $(dirname "$1") && pwd -P))',
            b'$(dirname "$(cd "$(dirname "$1")" && pwd -P)")',
        ),
        (b"    echo $RESULT\n", b'    echo "$RESULT"\n'),
    )
    _PREFIX = re.compile(rb'^prefix="(/[^"]*)"$', re.MULTILINE)
    _POLYGLOT = b'"exec" "$(dirname $0)/python'

    def claims(self, name: str, head: bytes) -> bool:
        """Claim the shell form of python-config, which computes `prefix_real`."""
        return super().claims(name, head) and b"prefix_real=$(installed_prefix" in head

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> Iterator[Edit]:
        """Also drop the Python starter that old python-build-standalone put on this sh script."""
        head = view[0:4096]
        line, _, rest = head.partition(b"\n")
        dropped = range(0)
        if rest.startswith(self._POLYGLOT):
            start = len(line) + 1
            dropped = range(start, min(start + len(rest.partition(b"\n")[0]) + 1, len(view)))
            yield Edit(dropped.start, dropped.stop, b"", self.why[0])
        for old, new in self._QUOTING:
            if (at := head.find(old)) >= 0:
                yield Edit(at, at + len(old), new, self.why[0])
        edits = super().edits(name, view, moves)
        yield from (edit for edit in edits if edit.start not in dropped)

    def recorded(self, data: bytes) -> tuple[str, ...]:
        """Return the prefix the script was built for."""
        found = self._PREFIX.search(data)
        return (os.fsdecode(found[1]),) if found else ()

    def new(self, name: str) -> bytes:
        """Return the shell's word for the prefix in use."""
        del name
        return b"${prefix_real}"


class BuildFilesRelocator(_TextRelocator):
    """Gives Makefile, Setup and *Config.sh the neutral prefix; nothing reads them at run time."""

    why = ("build files",)
    NAME = re.compile(
        r"lib/(python3\.\d+/config-[^/]+/(Makefile|Setup[^/]*|config\.c\S*)"
        r"|([^/]+/)?\w+Config\.sh)$"
    )

    def new(self, name: str) -> bytes:
        """Return the neutral prefix."""
        del name
        return NEUTRAL.encode()


class BuildDetailsRelocator(ByName):
    """Gives `_sysconfig_vars_*.json` and `build-details.json` the neutral prefix."""

    why = ("build details",)
    NAME = re.compile(r"lib/python3\.\d+/(_sysconfig_vars_[^/]*|build-details)\.json")

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> Iterator[Edit]:
        """Replace the paths in the strings of the file, whatever way JSON spells them."""
        del name
        spelled = (text for old in olds(moves) for text in (old, json.dumps(old)[1:-1]))
        for match in finder(tuple(dict.fromkeys(spelled))).finditer(view[0 : len(view)]):
            yield Edit(match.start(), match.end(), NEUTRAL.encode(), self.why[0])
