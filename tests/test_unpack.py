"""Foreign archives become files in one folder, or a sentence: whatever they hold."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from envpack.archive import unpack as unpack_module
from envpack.archive.read import ArchiveFault, members
from envpack.archive.unpack import unpack
from envpack.bundled.placing import OWN, SCHEMA, Failed, check_tree, digested, read_manifest
from envpack.bundled.windows import make_links
from envpack.errors import EnvpackError
from envpack.python_tree import unpack_python
from envpack.unbundling import DamagedError, unbundle
from tests.hostile import (
    FILE,
    FOLDER,
    HARD,
    LINK,
    PLANTED,
    Planted,
    Surroundings,
    acceptable,
    archived,
)

hostile = settings(max_examples=150, deadline=None)


@settings(max_examples=500, deadline=None)
@given(PLANTED)
def test_hostile_trees(planted: list[Planted]) -> None:
    """All of an archive is there and nothing else, or it is refused; nothing outside is touched."""
    with TemporaryDirectory() as scratch:
        around = Surroundings(Path(scratch, "around"))
        path = archived(Path(scratch, "a.tar"), planted)
        wanted = acceptable(planted)
        try:
            unpack(str(path), str(around.target))
        except ArchiveFault:
            assert wanted is None
        else:
            assert wanted is not None
            found = {}
            for each in members(str(around.target)):
                text = each.link.target if each.link else each.data.read().decode()
                found[each.name] = (LINK if each.link else FILE, text)
            assert found == {
                name: (each.kind, each.target)
                for name, each in wanted.items()
                if each.kind != FOLDER
            }
            folders = {name for name, each in wanted.items() if each.kind == FOLDER}
            assert all((around.target / name).is_dir() for name in folders)
        around.check()


@hostile
@given(PLANTED)
def test_hostile_pythons(planted: list[Planted]) -> None:
    """An interpreter's archive writes below its folder alone, and leads nowhere else."""
    with TemporaryDirectory() as scratch:
        around = Surroundings(Path(scratch, "around"))
        path = archived(Path(scratch, "a.tar"), planted, "python/")
        with suppress(ArchiveFault):
            unpack_python(str(path), str(around.target))
        around.check()


@hostile
@given(PLANTED)
def test_hostile_manifests(planted: list[Planted]) -> None:
    """The links that a bundle's manifest names are made below its folder, and lead nowhere else."""
    with TemporaryDirectory() as scratch:
        around = Surroundings(Path(scratch, "around"))
        around.target.mkdir()
        files = {name: {"link": target} for kind, name, target in planted if kind == LINK}
        with suppress(OSError):
            make_links(str(around.target), files)
        around.check()


@hostile
@given(PLANTED)
def test_hostile_bundles(planted: list[Planted]) -> None:
    """A bundle that is checked leaves nothing anywhere, whatever is in it."""
    with TemporaryDirectory() as scratch:
        around = Surroundings(Path(scratch, "around"))
        path = archived(Path(scratch, "a.tar"), planted)
        with pytest.raises(EnvpackError):
            unbundle(path, around.target, check=True)
        assert not around.target.exists()
        around.check()


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ([Planted(FILE, "../x")], "no file in it may be called `../x`"),
        ([Planted(FILE, "/x")], "no file in it may be called `/x`"),
        ([Planted(FILE, "./")], "it holds a file without a name"),
        ([Planted(LINK, "x", "..")], "its link `x` leads out of it"),
        ([Planted(LINK, "x", "/etc")], "its link `x` leads out of it"),
        ([Planted(LINK, "x", "")], "its link `x` leads out of it"),
        (
            [Planted(LINK, "d/d", "."), Planted(LINK, "d/l", "d/../..")],
            "its link `d/l` leads out of it",
        ),
        (
            [Planted(LINK, "a/b", ".."), Planted(LINK, "p", "a/b/..")],
            "its link `p` leads out of it",
        ),
        (
            [Planted(LINK, "x", "y"), Planted(LINK, "y", "x")],
            "its link `x` leads in a circle, or through too many",
        ),
        (
            [Planted(LINK, "a", "b"), Planted(FILE, "a/x")],
            "its `a` is a link and something else",
        ),
        ([Planted(FILE, "a"), Planted(FILE, "a/x")], "its `a` is a folder and something else"),
        ([Planted(FILE, "a"), Planted(FILE, "./a")], "it holds `./a` twice"),
        ([Planted(FILE, "a"), Planted(LINK, "a", "b")], "its `a` is a link and something else"),
        ([Planted(HARD, "a", "b")], "its hard link `a` leads to no file before it"),
        (
            [Planted(LINK, "b", "c"), Planted(HARD, "a", "b")],
            "its hard link `a` leads to no file before it",
        ),
        ([Planted(HARD, "a", "/etc/passwd")], "no file in it may be called `/etc/passwd`"),
        ([Planted(tarfile.CHRTYPE, "a")], "its `a` is neither a file nor a link"),
        ([Planted(tarfile.FIFOTYPE, "a")], "its `a` is neither a file nor a link"),
        ([Planted(tarfile.GNUTYPE_SPARSE, "a")], "its `a` is neither a file nor a link"),
        ([Planted(FILE, "../\x1b[31m")], "no file in it may be called `../?[31m`"),
    ],
)
def test_what_is_refused(tmp_path: Path, planted: list[Planted], reason: str) -> None:
    """In one sentence with the archive's name, and no link is left."""
    path = archived(tmp_path / "a.tar", planted)
    with pytest.raises(ArchiveFault) as caught:
        unpack(str(path), str(tmp_path / "T"))
    assert str(caught.value) == f"`a.tar` is refused: {reason}"
    assert not any(each.is_symlink() for each in tmp_path.rglob("*"))


@pytest.mark.parametrize("name", ["a\\..\\..\\x", "C:x", "x:stream", "x.", "a /b"])
def test_names_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What is another place or name there is refused there, and a name like others elsewhere."""
    path = archived(tmp_path / "a.tar", [Planted(FILE, name)])
    unpack(str(path), str(tmp_path / "T"))
    assert (tmp_path / "T" / name).read_text() == "0"
    monkeypatch.setattr(unpack_module, "_WINDOWS", True)
    with pytest.raises(ArchiveFault, match="no file in it may be called"):
        unpack(str(path), str(tmp_path / "U"))


def test_a_name_that_is_another_one_on_disk(tmp_path: Path) -> None:
    """A link is judged by what is on disk: a folder that is there already may lead out too."""
    (tmp_path / "T").mkdir()
    (tmp_path / "T/a").symlink_to("..")
    path = archived(tmp_path / "a.tar", [Planted(LINK, "x", "a/.."), Planted(FILE, "y")])
    with pytest.raises(ArchiveFault, match="its link `x` leads out of it"):
        unpack(str(path), str(tmp_path / "T"))
    path = archived(tmp_path / "a.tar", [Planted(FILE, "a/y")])
    with pytest.raises(ArchiveFault, match="its `a` is a folder and something else"):
        unpack(str(path), str(tmp_path / "T"))
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_what_is_taken(tmp_path: Path, suffix: str) -> None:
    """Files, modes, links and empty folders, in every format of a source archive."""
    path = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, mode, text in (
                ("x-1/run", stat.S_IFREG | 0o755, "run"),
                ("x-1/plain", 0, "plain"),
                ("x-1/link", stat.S_IFLNK | 0o777, "plain"),
                ("x-1/empty/", stat.S_IFDIR | 0o755, ""),
            ):
                info = zipfile.ZipInfo(name)
                info.external_attr = mode << 16
                archive.writestr(info, text)
    else:
        kind = suffix.removeprefix("tar").removeprefix(".")
        with tarfile.open(path, f"w:{kind}") as tar:  # type: ignore[call-overload]
            for name, mode, data in (("x-1/run", 0o755, b"run"), ("x-1/plain", 0o600, b"plain")):
                member = tarfile.TarInfo(name)
                member.mode, member.size = mode, len(data)
                tar.addfile(member, io.BytesIO(data))
            for name, type_, target in (("x-1/link", LINK, "plain"), ("x-1/empty", FOLDER, "")):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = type_, target
                tar.addfile(member)
    unpack(str(path), str(tmp_path / "T"))
    top = tmp_path / "T/x-1"
    assert sorted(each.name for each in top.iterdir()) == ["empty", "link", "plain", "run"]
    assert (top / "run").read_text() == "run"
    assert os.readlink(top / "link") == "plain"
    modes = [stat.S_IMODE((top / name).stat().st_mode) for name in ("run", "plain")]
    assert modes == [0o755, 0o644]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Told as such, with its path."""
    (tmp_path / "T").write_text("a file")
    path = archived(tmp_path / "a.tar", [Planted(FILE, "y")])
    with pytest.raises(EnvpackError, match=f"cannot write `{tmp_path / 'T'}`: File exists"):
        unpack(str(path), str(tmp_path / "T"))


def test_an_interpreter_stays_in_its_layout(tmp_path: Path) -> None:
    """A folder that a chain of links names is not written to, nor linked from."""
    for last in (Planted(FILE, "q/x"), Planted(HARD, "h", "q/secret"), Planted(LINK, "q/l", "x")):
        around = Surroundings(tmp_path / last.name.replace("/", "-"))
        chain = [Planted(LINK, "a/b", ".."), Planted(LINK, "p", "a/b/.."), Planted(LINK, "q", "p")]
        path = archived(tmp_path / "a.tar", [*chain, last], "python/")
        with pytest.raises(ArchiveFault, match=r"`a\.tar` is refused: "):
            unpack_python(str(path), str(around.target))
        around.check()


@pytest.mark.parametrize("check", [True, False])
def test_a_bundle_stays_in_its_folder(tmp_path: Path, check: bool) -> None:
    """No link is made in a folder outside, before the bundle was checked or at all."""
    around = Surroundings(tmp_path / "around")
    planted = [Planted(LINK, "a", "../.."), Planted(LINK, "a/planted", "/etc/passwd")]
    path = archived(tmp_path / "a.tar", planted)
    with pytest.raises(DamagedError, match="is refused: its link `a/planted` leads out of it"):
        unbundle(path, around.target, check=check)
    around.check()


def test_links_of_a_manifest_stay_in_its_folder(tmp_path: Path) -> None:
    """`..` alone leads out too, and no link is made through another one."""
    around = Surroundings(tmp_path / "around")
    around.target.mkdir()
    make_links(str(around.target), {"x": {"link": ".."}, "y": {"link": "z"}})
    assert [path.name for path in around.target.iterdir()] == ["y"]
    with suppress(OSError):
        make_links(str(around.target), {"x": {"link": ".."}, "x/evil": {"link": "a"}})
    around.check()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../x", {"sha256": "", "size": 0}),
        ("/x", {"sha256": "", "size": 0}),
        ("a\0", {"sha256": "", "size": 0}),
        ("d/x", {"sha256": "", "size": 0}),
        ("l", {"link": ""}),
        ("l", {"link": 5}),
    ],
)
def test_names_in_a_manifest(tmp_path: Path, name: str, told: dict[str, object]) -> None:
    """One that leads out, or lies below a link, is refused by all that reads a manifest."""
    files = {"d": {"link": "e"}, name: told}
    manifest = {"schema": SCHEMA, "files": files, "targets": [], "root": ".", "directory": "."}
    (tmp_path / OWN).mkdir()
    (tmp_path / OWN / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(Failed, match="cannot be a file of a bundle") as caught:
        read_manifest(str(tmp_path))
    assert caught.value.code == 3
    files.pop(name)
    (tmp_path / OWN / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert read_manifest(str(tmp_path))["files"] == files


def test_a_link_that_a_shell_unpacked(tmp_path: Path) -> None:
    """A script of a bundle has tar unpack it; the check looks where its links end."""
    files = {"d": {"link": "."}, "l": {"link": "d/.."}}
    (tmp_path / OWN).mkdir()
    (tmp_path / "d").symlink_to(".")
    (tmp_path / "l").symlink_to("d/..")
    manifest = {"schema": SCHEMA, "digest": "0" * 64, "files": files}
    text = json.dumps(manifest)
    text = text.replace("0" * 64, digested(text))
    (tmp_path / OWN / "bundle.json").write_text(text, encoding="utf-8")
    with pytest.raises(Failed, match="the link `l` leads out of the bundle"):
        check_tree(str(tmp_path), json.loads(text))
