"""What every registered relocator promises, whatever bytes it is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envpack.model import Edit, Move, Relocator
from envpack.reading import spliced
from envpack.relocate import RELOCATORS, relocator_for
from envpack.relocate.elf import FLIPPED
from envpack.relocate.paths import ByHead, ByName

MOVES = (
    Move("/home/me/a b/é/.venv", ""),
    Move("/home/me/a b/.venv", ""),
    Move("/home/me/.venv/lib64", "lib"),
    Move("/home/me/.venv", ""),
    Move("/py/3.12/venv", ""),
    Move("/py/3.12", ""),
    Move("/py", ""),
)

NAMES = (
    "bin/tool",
    "bin/python3.12-config",
    "lib/libpython3.12.so.1.0",
    "lib/pkgconfig/python-3.12.pc",
    "lib/itcl4.2/itclConfig.sh",
    "lib/python3.12/_sysconfig_vars__linux_x86_64-linux-gnu.json",
    "lib/python3.12/_sysconfigdata__linux_x86_64-linux-gnu.py",
    "lib/python3.12/build-details.json",
    "lib/python3.12/config-3.12-x86_64-linux-gnu/Makefile",
    "lib/python3.12/site-packages/x.pth",
    "lib/python3.12/site-packages/x-1.dist-info/METADATA",
    "share/jupyter/kernels/python3/kernel.json",
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "elf"
ELVES = [path.read_bytes() for path in sorted(FIXTURES.glob("*.so"))]

WORDS = [
    b"#!/home/me/.venv/bin/python3",
    b"#!/bin/sh",
    b"'''exec' '/home/me/a b/.venv/bin/python' \"$0\" \"$@\"",
    b"' '''",
    b"/home/me/.venv",
    b"/home/me/a b/.venv/lib",
    b"/py/3.12",
    b"/py/3.12.1",
    b"/py/3.12/venv",
    b"/py/3.12/venv/lib64/x",
    b"/py",
    b"/home/me/.venv/lib64",
    "/home/me/a b/é/.venv/lib".encode(),
    b"/home/me/a b/\\u00e9/.venv",
    b'"exec" "$(dirname $0)/python3" "/py/3.12/x"',
    b"/install",
    b"/elsewhere",
    b"prefix=",
    b'prefix="/py/3.12"',
    b"prefix_real=$(installed_prefix",
    b"build_time_vars = {'prefix': '/py/3.12', 'x': '-L/py/3.12/lib'}",
    b'{"argv": ["/py/3.12/bin/python"]}',
    b"import x",
    b"Home-page: https://me:p@ss@example.org/x",
    b"Requires-Dist: x @ https://h/x.whl?sig=a#tok=b",
    b" ",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"# coding: latin-1",
]

contents = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=12).map(b"".join),
    st.lists(st.sampled_from(WORDS), max_size=12).map(b"\n".join),
    st.sampled_from(ELVES),
    st.binary(max_size=64),
)


@pytest.mark.parametrize("relocator", RELOCATORS, ids=lambda r: type(r).__name__)
@given(name=st.sampled_from(NAMES), data=contents)
@example(name="lib/python3.12/build-details.json", data=b'"/py/3.12/venv/lib"')
@example(
    name="bin/python3.12-config",
    data=b'#!/bin/sh\n"exec" "$(dirname $0)/python3" "/py/3.12/x"\nprefix_real=$(installed_prefix',
)
@example(
    name="bin/python3.12-config",
    data=b'#!/bin/sh\nprefix_real=$(installed_prefix\n"exec" "$(dirname $0)/python3" "/py/x"',
)
@example(
    name="bin/python3.12-config",
    data=b"/home/me/.venv/home/me/a b/.venv/libprefix_real=$(installed_prefix",
)
def test_edits_are_sound_and_final(relocator: Relocator, name: str, data: bytes) -> None:
    """In bounds, disjoint, with a known reason; and the edited file yields no further edit."""
    if not relocator.claims(name, data[:4096]):
        return
    edits = sorted(relocator.edits(name, data, MOVES))
    end = 0
    for edit in edits:
        assert end <= edit.start <= edit.stop <= len(data)
        assert data[edit.start : edit.stop] != edit.data
        assert edit.why in relocator.why
        end = edit.stop
    once = b"".join(spliced([data], edits))
    if relocator.claims(name, once[:4096]):
        assert list(relocator.edits(name, once, MOVES)) == []


@given(name=st.sampled_from(NAMES), data=contents)
def test_a_foreign_file_is_left_alone(name: str, data: bytes) -> None:
    """Where nothing was moved, only what names its own old prefix changes, and RUNPATH's kind.

    Nor does it matter where a file lies for the secrets of its URLs.
    """
    own = (b"/install", b"prefix", b"#!", b"https:")
    if any(word in data for word in own) or name.endswith(".pth"):
        return
    relocator = relocator_for(name, data[:4096])
    edits = relocator.edits(name, data, ()) if relocator else ()
    assert [edit for edit in edits if edit.why != FLIPPED] == []


def test_reasons_are_few_and_their_own() -> None:
    """Reports count by them, so no two relocators share one."""
    reasons = [why for relocator in RELOCATORS for why in relocator.why]
    assert len(reasons) == len(set(reasons))
    assert isinstance(Edit(0, 0, b"", reasons[0]), tuple)


@given(name=st.sampled_from(NAMES), data=contents)
def test_the_first_that_claims_a_file_gets_it(name: str, data: bytes) -> None:
    """What passes over most files at once passes over none that a relocator claims."""
    head = data[:4096]
    first = next((each for each in RELOCATORS if each.claims(name, head)), None)
    assert relocator_for(name, head) is first


def test_each_claims_by_name_or_by_head() -> None:
    """What passes over most files at once knows no other way."""
    assert all(isinstance(each, ByName | ByHead) for each in RELOCATORS)
