"""A plan in the making: what is asked of it while it grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from envpack.draft import REST, Draft
from envpack.entries import disk_at
from envpack.errors import SourceFault
from envpack.model import Alias, Entry, Inline, Reason
from envpack.walk import walk
from tests.test_plan import plan_of
from tests.trees import make_environment, write


def drafted(root: Path) -> Draft:
    """Return a draft of all files below a folder."""
    draft = Draft((str(root),), lambda: None)
    for found in walk(str(root)):
        items = ((item, REST) for item in found.found())
        draft.add_found(found.name, items, "environment", root=str(root))  # type: ignore[arg-type]
    return draft


def test_below_a_folder_and_not_beside_it(tmp_path: Path) -> None:
    """A name that only begins like the folder's is not in it."""
    write(tmp_path / "share/terminfo-old/x", "x")
    draft = drafted(tmp_path)
    draft.add(Entry("share/terminfo.txt", Inline(b"")), REST, "envpack")
    assert not draft.has_any_below("share/terminfo")
    draft.add(Entry("share/terminfo/x/xterm", Inline(b"")), REST, "envpack")
    assert draft.has_any_below("share/terminfo")
    assert draft.has_any_below("share/terminfo-old")


def test_native_files_are_looked_at_once(tmp_path: Path) -> None:
    """A further name in the same folder is the same bytes; in another it may need others."""
    for name in ("lib/libx.so.1.2", "lib/tool.py"):
        write(tmp_path / name, "x")
    write(tmp_path / "bin/run", "x", 0o755)
    (tmp_path / "lib/libx.so.1").symlink_to("libx.so.1.2")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/libx.so.1").symlink_to("../lib/libx.so.1.2")
    draft = drafted(tmp_path)
    content, _ = disk_at(str(tmp_path / "bin/run"))
    draft.add(Entry("bin/more", content, executable=True), REST, "envpack")
    names = sorted(name for name, _ in draft.natives())
    assert names == ["bin/more", "bin/run", "lib/libx.so.1.2", "more/libx.so.1"]


def test_what_is_in_bin_can_be_started(tmp_path: Path) -> None:
    """Installers forget the bit, and so do copies through other systems; links too."""
    fake = make_environment(tmp_path)
    fake.add("bin/tool", "#!/bin/sh\n", mode=0o644)
    (fake.root / "bin/also").symlink_to("tool")
    fake.add("share/tool", "#!/bin/sh\n", mode=0o644)
    fake.add("share/notes", "text\n", mode=0o644)
    (fake.root / "bin/notes").symlink_to("../share/notes")
    modes = {entry.name: entry.executable for entry in plan_of(fake).entries}
    assert (modes["bin/tool"], modes["bin/also"], modes["share/tool"]) == (True, True, False)
    assert (modes["bin/notes"], modes["share/notes"]) == (True, False)


def test_other_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    """Nothing relocates them, and a name that was a link's has them for itself."""
    write(tmp_path / "a", "x")
    (tmp_path / "b").symlink_to("a")
    draft = drafted(tmp_path)
    draft.replace_content("a", Inline(b"new"))
    draft.replace_content("b", Inline(b"other"))
    entries = {entry.name: entry for batch in draft.finish() for entry in batch.entries()}
    assert [(e.content, e.relocate) for e in entries.values()] == [
        (Inline(b"new"), False),
        (Inline(b"other"), False),
    ]


def test_what_comes_later_is_there_too(tmp_path: Path) -> None:
    """Whatever was asked before: nothing is remembered beyond what changed it."""
    write(tmp_path / "lib/a", "x")
    draft = drafted(tmp_path)
    assert [entry.name for batch in draft.finish() for entry in batch.entries()] == ["lib/a"]
    write(tmp_path / "more/b", "x")
    for found in walk(str(tmp_path / "more")):
        items = ((item, REST) for item in found.found())
        draft.add_found("more", items, "environment", root=str(tmp_path))  # type: ignore[arg-type]
    names = [entry.name for batch in draft.finish() for entry in batch.entries()]
    assert names == ["lib/a", "more/b"]


def test_what_was_taken_out_is_out(tmp_path: Path) -> None:
    """Also for who asks by name, and for its neighbours."""
    for name in ("lib/a", "lib/b", "lib/c"):
        write(tmp_path / name, "x")
    draft = drafted(tmp_path)
    assert "lib/b" in draft
    draft.remove_all(lambda name, _: Reason.EXCLUDED if name == "lib/b" else None)
    assert "lib/b" not in draft
    assert "lib/a" in draft
    assert [item.name for item in draft.left_out] == ["lib/b"]


def test_no_alias_of_an_alias(tmp_path: Path) -> None:
    """A link to what is a link itself is a copy: there may be no file behind both."""
    write(tmp_path / "a", "x")
    draft = drafted(tmp_path)
    content, _ = disk_at(str(tmp_path / "a"))
    draft.add(Entry("b", content), REST, "environment", target="a")
    draft.add(Entry("c", content), REST, "environment", target="b")
    entries = {entry.name: entry for batch in draft.finish() for entry in batch.entries()}
    assert isinstance(entries["b"].content, Alias)
    assert entries["c"].content == content


def test_a_file_and_a_folder_of_one_name(tmp_path: Path) -> None:
    """An archive cannot hold both, and neither of two packages wins."""
    draft = drafted(tmp_path)
    for name in ("share/x", "share/x/y"):
        draft.add(Entry(name, Inline(b"")), REST, "environment")
    with pytest.raises(SourceFault, match="`share/x` is a file in one place and a directory in an"):
        draft.finish()
