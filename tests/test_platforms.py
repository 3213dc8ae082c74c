"""Words for platforms and Pythons, and the tags and markers they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import Tag, platform_tags

from envpack.errors import UsageError
from envpack.platforms import (
    STANDARD,
    Platform,
    Python,
    Target,
    current,
    platforms_named,
    pythons_named,
)

WORDS = {
    "linux": "x86_64-manylinux_2_28",
    "x86_64-unknown-linux-gnu": "x86_64-manylinux_2_28",
    "aarch64-unknown-linux-gnu": "aarch64-manylinux_2_28",
    "x86_64-unknown-linux-musl": "x86_64-unknown-linux-musl",
    "riscv64-unknown-linux": "riscv64-manylinux_2_28",
    "x86_64-manylinux2014": "x86_64-manylinux_2_17",
    "x86_64-manylinux_2_31": "x86_64-manylinux_2_31",
    "manylinux_2_17_aarch64": "aarch64-manylinux_2_17",
    "manylinux1_i686": "i686-manylinux_2_5",
    "musllinux_1_1_x86_64": "musllinux_1_1_x86_64",
    "linux_x86_64": "x86_64-manylinux_2_28",
    "macos": "aarch64-apple-darwin",
    "x86_64-apple-darwin": "x86_64-apple-darwin",
    "macosx_10_12_x86_64": "macosx_10_12_x86_64",
    "macosx_14_0_arm64": "macosx_14_0_arm64",
    "windows": "x86_64-pc-windows-msvc",
    "win_amd64": "x86_64-pc-windows-msvc",
    "win32": "i686-pc-windows-msvc",
    "win_arm64": "aarch64-pc-windows-msvc",
}


@pytest.mark.parametrize(("word", "name"), WORDS.items())
def test_words(word: str, name: str) -> None:
    """uv's names and wheels' tags mean one platform each, and its own name means it again."""
    found = platforms_named([word])
    assert found is not None
    assert [str(platform) for platform in found] == [name]
    assert platforms_named([name]) == found


def test_lists_with_commas() -> None:
    """Commas separate, repetitions count once, and `all` is no list."""
    assert platforms_named(["windows, win_amd64", "macos"]) == (STANDARD[6], STANDARD[4])
    assert platforms_named(["windows,all"]) is None


@pytest.mark.parametrize("word", ["solaris", "x86_64", "win64", "manylinux_2_x86_64", "-"])
def test_unknown_platform(word: str) -> None:
    """An unknown word is named."""
    with pytest.raises(UsageError, match=f"`{word}` is no platform"):
        platforms_named([word])


@pytest.mark.parametrize("word", ["2.7", "python", "3", "pypy3.10", "3.x"])
def test_unknown_python(word: str) -> None:
    """Only CPython 3 with a minor version is a Python."""
    with pytest.raises(UsageError, match=f"`{word}` is no version"):
        pythons_named([word])


def test_pythons() -> None:
    """A minor stands for its first and last patch version, a patch version for itself."""
    assert pythons_named(["3.12,3.13t", "cpython-3.12.4"]) == (
        Python("3.12"),
        Python("3.13", free_threaded=True),
        Python("3.12.4"),
    )
    assert Python("3.12").full_versions == ("3.12.0", "3.12.99")
    assert Python("3.12.4").full_versions == ("3.12.4",)


def test_here() -> None:
    """The platform of this Python takes the wheels that packaging says it takes."""
    assert set(platform_tags()) <= {*current().tags, *_of_musl()}


def _of_musl() -> set[str]:
    return {tag for tag in platform_tags() if tag.startswith("musllinux")}


def test_tags_on_linux() -> None:
    """The newest manylinux comes first, old names beside their numbers, plain linux last."""
    tags = Platform("linux", "x86_64", "gnu", (2, 18)).tags
    assert tags[:3] == (
        "manylinux_2_18_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
    )
    assert tags[-3:] == ("manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64")
    assert Platform("linux", "aarch64", "gnu", (2, 17)).tags == (
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
        "linux_aarch64",
    )


def test_tags_elsewhere() -> None:
    """Windows has one, macOS those of packaging, universal ones among them."""
    assert STANDARD[6].tags == ("win_amd64",)
    assert STANDARD[4].tags[:2] == ("macosx_13_0_arm64", "macosx_13_0_universal2")
    assert STANDARD[2].tags == (
        "musllinux_1_2_x86_64",
        "musllinux_1_1_x86_64",
        "musllinux_1_0_x86_64",
        "linux_x86_64",
    )


def test_tags_of_a_target() -> None:
    """The version's own ABI comes first, then the stable one, then pure Python."""
    tags = Target(STANDARD[6], Python("3.12")).tags
    assert tags[0] == Tag("cp312", "cp312", "win_amd64")
    assert tags.index(Tag("cp39", "abi3", "win_amd64")) < tags.index(Tag("py3", "none", "any"))
    free = Target(STANDARD[6], Python("3.13", free_threaded=True)).tags
    assert free[0] == Tag("cp313", "cp313t", "win_amd64")
    assert Tag("cp312", "abi3", "win_amd64") not in free


def test_markers() -> None:
    """A machine is called as Python calls it there."""
    assert STANDARD[6].markers["platform_machine"] == "AMD64"
    assert STANDARD[4].markers["platform_machine"] == "arm64"
    assert STANDARD[1].markers["sys_platform"] == "linux"


@given(st.sampled_from(STANDARD), st.integers(5, 40))
def test_newer_takes_what_older_takes(platform: Platform, minor: int) -> None:
    """A newer C library takes every wheel that an older one takes."""
    if platform.libc != "gnu":
        return
    older = platform._replace(version=(2, minor))
    newer = platform._replace(version=(2, minor + 1))
    assert set(older.tags) <= set(newer.tags)


def test_an_unknown_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and taken for no other; a Linux whose C library nobody can tell is its own."""
    monkeypatch.setattr("envpack.platforms.platform_tags", lambda: iter(["freebsd_14_amd64"]))
    with pytest.raises(UsageError, match="is no platform that is known here"):
        current()
    monkeypatch.setattr("envpack.platforms.platform_tags", lambda: iter(["linux_riscv64"]))
    assert (current().os, current().arch) == ("linux", "riscv64")
