"""The walk through a folder: what is a file, a link, a loop, and nothing that ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envpack.errors import SourceFault
from envpack.walk import Found, FoundDirectoryLink, walk
from tests.trees import write


def found(root: Path, **options: object) -> dict[str, Found | FoundDirectoryLink]:
    """Return all that a walk finds, by name."""
    folders = walk(str(root), **options)  # type: ignore[arg-type]
    return {item.name: item for folder in folders for item in folder.found()}


@pytest.mark.parametrize(("mode", "executable"), [(0o744, True), (0o654, False), (0o700, True)])
def test_executable_is_what_its_owner_may_start(
    tmp_path: Path, mode: int, executable: bool
) -> None:
    """For a file and for a link to one."""
    write(tmp_path / "in/file", "x", mode)
    (tmp_path / "in/link").symlink_to("file")
    items = found(tmp_path / "in")
    assert {name: item.executable for name, item in items.items() if isinstance(item, Found)} == {
        "file": executable,
        "link": executable,
    }


@pytest.mark.parametrize("root", [".", "in"])
def test_two_folders_that_link_to_each_other(tmp_path: Path, root: str) -> None:
    """Neither is above the other, and yet the way leads in a circle; also outside of the root."""
    for here, there in (("a", "b"), ("b", "a")):
        (tmp_path / here).mkdir()
        (tmp_path / here / "to").symlink_to(f"../{there}")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/start").symlink_to("../a")
    with pytest.raises(SourceFault, match="is a link to a directory above it"):
        found(tmp_path / root)


@pytest.mark.parametrize("target", ["nowhere", "file/below"])
def test_a_link_that_leads_nowhere(tmp_path: Path, target: str) -> None:
    """Nothing is there, or nothing can be: what stands in the way is a file."""
    write(tmp_path / "file", "x")
    (tmp_path / "link").symlink_to(target)
    item = found(tmp_path)["link"]
    assert isinstance(item, Found)
    assert (item.kind, item.link) == ("dangling", target)


def test_a_link_to_what_is_no_file(tmp_path: Path) -> None:
    """A pipe is none, by whatever name."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    items = found(tmp_path)
    assert [item.kind for item in items.values() if isinstance(item, Found)] == ["special"] * 2


def test_names_in_order_and_what_is_passed_over(tmp_path: Path) -> None:
    """Each folder before what is in it, all by name; a skipped folder is not entered."""
    for name in ("b/2", "b/1", "a/x/y", "c", "skip/file"):
        write(tmp_path / name, "x")
    assert list(found(tmp_path, skip=("skip",))) == ["c", "a/x/y", "b/1", "b/2"]
