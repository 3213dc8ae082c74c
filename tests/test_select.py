"""What is said of whole folders is true of every file in them."""

from __future__ import annotations

import posixpath

from hypothesis import example, given
from hypothesis import strategies as st

from envpack.distributions import name_in_prefix, names_in_prefix
from envpack.interpreter import Interpreter
from envpack.model import Reason
from envpack.select import (
    environment_reason,
    interpreter_reason,
    is_bytecode,
    is_library,
    is_plain,
)
from envpack.target import Target

SITE = "lib/python3.12/site-packages"
WORDS = (
    *("", ".", "bin", "lib", "include", "python3.12", "site-packages", "__pycache__", "a", "é"),
    *("config-3.12-x86_64-linux-gnu", "one-1.dist-info", "one.egg-info", "lib64", "pkgconfig"),
)
BASES = (
    *("a.py", "a.o", "a.so", "libpython3.12.a", "BUILD", "RECORD", "uv_cache.json", ".lock"),
    *("EXTERNALLY-MANAGED", "_virtualenv.py", "pyvenv.cfg", "python3.12", "activate"),
)

folders = st.one_of(
    st.lists(st.sampled_from(WORDS[2:]), max_size=5).map("/".join),
    st.lists(st.sampled_from(WORDS[2:]), max_size=3).map(lambda more: "/".join([SITE, *more])),
    st.lists(st.sampled_from(WORDS[2:]), max_size=3).map(
        lambda more: "/".join(["lib/python3.12", *more])
    ),
)
bases = st.sampled_from(BASES)


def interpreter(*, managed: bool) -> Interpreter:
    """Return one of which only the names count."""
    return Interpreter(
        prefix="/opt/python",
        spellings=(),
        executable="bin/python3.12",
        version="3.12.1",
        minor="3.12",
        target=Target("linux", "x86_64", "gnu"),
        managed=managed,
        build=None,
    )


@given(folders, bases)
@example(f"{SITE}/one", "_virtualenv.py")
@example(f"{SITE}/one-1.dist-info", "uv_cache.json")
def test_a_plain_folder_has_no_file_that_stays_out(folder: str, base: str) -> None:
    """And of a folder of bytecode none goes in."""
    reason = environment_reason(f"{SITE}/", posixpath.join(folder, base))
    if is_plain(f"{SITE}/", folder):
        assert reason is None
    if is_bytecode(folder):
        assert reason is Reason.BYTECODE


@given(folders, bases, st.booleans())
@example("lib/python3.12/config-3.12-x86_64-linux-gnu", "a.o", True)
@example("lib/python3.12", "EXTERNALLY-MANAGED", False)
def test_a_folder_of_the_library_goes_in(folder: str, base: str, managed: bool) -> None:
    """All but its static libraries, whoever manages the interpreter."""
    python = interpreter(managed=managed)
    reason = interpreter_reason(python, posixpath.join(folder, base))
    if is_library(python, folder):
        assert reason is (Reason.STATIC_LIBRARY if base.endswith(".a") else None)
    if is_bytecode(folder):
        assert reason is Reason.BYTECODE


paths = st.lists(st.sampled_from([*WORDS, "..", "a.b", "c d"]), max_size=5).map("/".join)


@given(st.lists(paths, max_size=5))
def test_names_of_many_paths_are_those_of_each(found: list[str]) -> None:
    """What needs no normalising is the same without it."""
    assert names_in_prefix(SITE, found) == [name_in_prefix(SITE, path) for path in found]
