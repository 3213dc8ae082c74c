"""Wheels that are built of archives: what is unpacked for them, on any Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from envpack import builds
from envpack.builds import BuildFault
from tests.hostile import FILE, LINK, Planted, archived


def test_the_top_of_an_archive(tmp_path: Path) -> None:
    """Its one folder, or the folder it was unpacked to."""
    one = archived(tmp_path / "one.tar", [Planted(FILE, "x-1/a"), Planted(FILE, "x-1/b")])
    two = archived(tmp_path / "two.tar", [Planted(FILE, "a"), Planted(FILE, "b")])
    assert builds._unpacked(str(one), str(tmp_path / "1")) == str(tmp_path / "1/x-1")
    assert builds._unpacked(str(two), str(tmp_path / "2")) == str(tmp_path / "2")
    assert (tmp_path / "1/x-1/b").read_text() == "1"


@pytest.mark.parametrize("cut", [False, True])
def test_an_archive_that_cannot_be_built(tmp_path: Path, cut: bool) -> None:
    """Damaged or hostile, it is a build that failed, said with its name."""
    path = archived(tmp_path / "x.tar", [Planted(FILE, "a"), Planted(LINK, "b", "../c")])
    if cut:
        path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(BuildFault, match=r"^`x\.tar` is "):
        builds._unpacked(str(path), str(tmp_path / "T"))
