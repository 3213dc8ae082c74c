"""Streaming: edits spliced into blocks, leaks found across them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envpack.leaks import LeakSearch
from envpack.model import Edit
from envpack.reading import harmless, spliced
from envpack.relocate.elf import loader_strings


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, list[Edit], bytes]:
    """Data, disjoint edits, and the result computed the plain way."""
    data = draw(st.binary(max_size=200))
    places = st.integers(0, len(data))
    cuts = sorted(draw(st.lists(places, max_size=8, unique=True)))
    edits = [
        Edit(start, stop, draw(st.binary(max_size=5)), "test")
        for start, stop in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    expected = data
    for edit in reversed(edits):
        expected = expected[: edit.start] + edit.data + expected[edit.stop :]
    return data, edits, expected


@given(edited(), st.integers(1, 50))
def test_splicing_blocks_equals_editing_the_whole(
    case: tuple[bytes, list[Edit], bytes], size: int
) -> None:
    """Wherever the block borders fall."""
    data, edits, expected = case
    blocks = [data[i : i + size] for i in range(0, len(data), size)]
    assert b"".join(spliced(blocks, edits)) == expected


@pytest.mark.parametrize(
    "edits",
    [
        [Edit(3, 5, b"", ""), Edit(1, 2, b"", "")],
        [Edit(0, 3, b"", ""), Edit(2, 4, b"", "")],
        [Edit(0, 99, b"", "")],
        [Edit(99, 99, b"x", "")],
    ],
)
def test_bad_edits_are_refused(edits: list[Edit]) -> None:
    """Out of order, overlapping, past the end: a bug, not an output."""
    with pytest.raises(ValueError, match="edit"):
        b"".join(spliced([b"0123", b"456789"], edits))


@given(
    st.lists(
        st.sampled_from(
            [b"/home/me/x", b"/app", b"/", b"a", b" ", b"/app/", b"-I", b"/home/me/x/of/a/project"]
        )
    ),
    st.integers(1, 40),
    st.sampled_from(
        [
            ("/home/me/x", "/app"),
            ("/home/me/x", "/home/me/x/of/a/project"),
            ("/home/me/x/of/a/project",),
            (),
        ]
    ),
)
def test_leaks_are_found_across_blocks(
    words: list[bytes], size: int, needles: tuple[str, ...]
) -> None:
    """A stream of blocks and the whole file give the same counts, those of a plain search."""
    data = b"".join(words)
    search = LeakSearch(needles)
    plain = {
        needle: len(found)
        for needle in needles
        if (found := re.findall(re.escape(needle.encode()) + rb"(?![\w+~-]|\.\w)", data))
    }
    if needles != ("/home/me/x", "/app"):  # `/app` must not stand in the middle of a name
        assert search.in_whole(data) == plain
    stream = search.stream()
    for start in range(0, len(data), size):
        stream.feed(data[start : start + size])
    stream.feed(b"", last=True)
    assert stream.found == search.in_whole(data)


def test_a_leak_is_a_whole_path() -> None:
    """A longer name is another path, and `/app` in the middle of one is none."""
    search = LeakSearch(("/home/me", "/app"))
    assert not search.in_whole(b"/home/me2 /home/me-x /home/me.txt /usr/app x/app")
    assert search.in_whole(b"/home/me/x /home/me\0 file:///home/me") == {"/home/me": 3}
    assert search.in_whole(b"/app '/app/x' =/app/y") == {"/app": 3}


def test_a_leak_in_libpython_is_excused_only_if_the_loader_does_not_read_it() -> None:
    """The compiled-in prefix is a last resort; a search path that could not be edited is not."""
    fixture = Path(__file__).parents[1] / "fixtures/elf/runpath.so"
    data = fixture.read_bytes()
    assert any(text.startswith(b"/") for text in loader_strings(data))
    assert harmless("lib/libpython3.12.so.1.0", data, ()) == ""
    assert harmless("lib/libpython3.12.so.1.0", data, (Edit(0, 0, b"", "RPATH"),))
    assert harmless("lib/libpython3.12.so.1.0", b"no ELF", ())
    assert harmless("lib/libother.so", b"no ELF", ()) == ""
