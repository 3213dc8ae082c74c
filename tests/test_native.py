"""Native libraries: what is carried, what stays on the host, and which files must be told."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envpack.errors import SourceFault
from envpack.ld_so import DamagedCache, Loader, read_cache
from envpack.libraries import Need
from envpack.model import Edit, Move
from envpack.native import Native, Rival, Want, resolve
from envpack.native_host import (
    GROUPS,
    BundleLibs,
    Companion,
    companions,
    group_of,
    licences,
    stays,
    stem_of,
)
from envpack.reading import spliced
from envpack.relocate.elf import ElfRelocator
from envpack.relocate.elf_add import NoRoom, edits_with, with_rpath
from tests.judges import lief
from tests.test_floor import FIXTURES, NAMES, Counting, elf

AUTO, ALL, NONE = BundleLibs.AUTO, BundleLibs.ALL, BundleLibs.NONE
SITE = "lib/python3.12/site-packages"
DYNLOAD = "lib/python3.12/lib-dynload"

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="NOT PROVEN HERE: no gcc")
runs_here = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="the fixtures are for Linux on x86-64",
)


class Machine:
    """A build machine below a folder: an interpreter's prefix, libraries, a loader's cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.prefix = root / "prefix"
        self.usr = root / "usr/lib"
        self.usr.mkdir(parents=True)
        self.files: list[tuple[str, str]] = []
        self.cache: dict[str, tuple[str, ...]] = {}

    def inside(self, name: str, data: bytes) -> str:
        """Add a file of the archive, which lies in the prefix."""
        path = self.write(str(self.prefix / name), data)
        self.files.append((name, path))
        return path

    def library(self, soname: str, data: bytes, folder: str = "", *, cached: bool = True) -> str:
        """Add a library of the machine, by default one that `ld.so.cache` knows."""
        path = self.write(f"{folder or self.usr}/{soname}", data)
        if cached:
            self.cache[soname] = (*self.cache.get(soname, ()), path)
        return path

    def write(self, path: str, data: bytes) -> str:
        """Write a file and its folders."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_bytes(data)
        return path

    def resolve(self, mode: BundleLibs = AUTO, folders: Sequence[str] = ()) -> Native:
        """Resolve with nothing of the real machine."""
        loader = Loader(self.cache, tuple(folders))
        return resolve(self.files, (Move(str(self.prefix), ""),), mode, loader=loader)


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_what_cannot_be_read_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """A disk that fails while a library is looked at says nothing of what that wants."""
    path = machine.inside(f"{SITE}/a.so", elf(["libz.so.1"]))
    real, seen = os.pread, []

    def fails(descriptor: int, size: int, at: int) -> bytes:
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            seen.append(at)
            if len(seen) > 1:
                raise OSError(error, os.strerror(error))
        return real(descriptor, size, at)

    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(SourceFault, match=rf"^cannot read `{path}`: {os.strerror(error)}$"):
        machine.resolve()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Give a machine with python, libpython and a C library."""
    found = Machine(tmp_path)
    lib = str(found.prefix / "lib")
    found.inside("bin/python", elf(["libpython3.12.so.1.0", "libc.so.6"], runpath=lib))
    found.inside("lib/libpython3.12.so.1.0", elf(["libc.so.6"], runpath=lib))
    found.library("libc.so.6", elf(soname="libc.so.6"))
    found.library("libgcc_s.so.1", elf(["libc.so.6"]))
    return found


def carried(found: Native) -> list[str]:
    """Return what is carried but for libgcc_s, which `all` always brings."""
    return [name for name, _ in found.carried if name != "lib/libgcc_s.so.1"]


# ---- the table -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("soname", "group"),
    [
        ("libc.so.6", "libc"),
        ("ld-linux-x86-64.so.2", "libc"),
        ("ld-linux-aarch64.so.1", "libc"),
        ("ld64.so.2", "libc"),
        ("libc.musl-x86_64.so.1", "libc"),
        ("libpthread.so.0", "libc"),
        ("libgcc_s.so.1", "compiler"),
        ("libstdc++.so.6", "compiler"),
        ("libz.so.1", "compiler"),
        ("libGL.so.1", "graphics"),
        ("libcuda.so.1", "graphics"),
        ("libX11.so.6", "desktop"),
        ("libX11-xcb.so.1", "desktop"),
        ("libXft.so.2", "desktop"),
        ("libglib-2.0.so.0", "desktop"),
        ("libfontconfig.so.1", "desktop"),
        ("libasound.so.2", "sound"),
        ("libmpi.so.40", "cluster"),
        ("libpython3.12.so.1.0", "python"),
    ],
)
def test_what_stays(soname: str, group: str) -> None:
    """The C library's family, the compiler's runtime and what belongs to the hardware stay."""
    found = group_of(soname)
    assert found is not None
    assert found.name == group
    assert stays(soname, AUTO)
    assert stays(soname, ALL) == (group != "compiler")


@pytest.mark.parametrize(
    "soname",
    [
        *("libcrypt.so.1", "libnsl.so.2", "libssl.so.3", "libcrypto.so.3", "libffi.so.8"),
        *("libsqlite3.so.0", "libgfortran.so.5", "libgomp.so.1", "libcurl.so.4", "libzstd.so.1"),
        *("libcom_err.so.2", "libtk8.6.so", "libcudart.so.12", "libmagic.so.1", "libcap.so.2"),
    ],
)
def test_what_is_carried(soname: str) -> None:
    """Whatever no group names is carried, libcrypt and libnsl too."""
    assert group_of(soname) is None
    assert not stays(soname, AUTO)


def test_the_table_is_sound() -> None:
    """No library is in two groups, and every group says why."""
    stems = [stem for group in GROUPS for stem in group.stems.split()]
    assert len(stems) == len(set(stems))
    starts = [stem[:-1] for stem in stems if stem.endswith("*")]
    assert not [s for s in stems for start in starts if s.startswith(start) and s != start + "*"]
    assert all(group.reason and "*" not in group.stems.replace("* ", " ")[:-1] for group in GROUPS)
    assert stem_of("libX11-xcb.so.1") == "libX11-xcb"


# ---- /etc/ld.so.cache ------------------------------------------------------------------------


def cache_bytes(
    entries: Sequence[tuple[str, str, int]], *, order: str = "<", old: bool = False
) -> bytes:
    """Build an ld.so.cache of (soname, path, hwcap), as `dl-cache.h` describes it."""
    strings = b""
    rows = []
    start = 48 + 24 * len(entries)
    for soname, path, hwcap in entries:
        key = start + len(strings)
        strings += os.fsencode(soname) + b"\0"
        value = start + len(strings)
        strings += os.fsencode(path) + b"\0"
        rows.append(struct.pack(order + "iIIIQ", 0x303, key, value, 0, hwcap))
    flags = 2 if order == "<" else 3
    header = struct.pack(order + "20sIIB3xI12x", b"glibc-ld.so.cache1.1", len(entries), 0, flags, 0)
    front = b""
    if old:
        front = struct.pack("<11sxI", b"ld.so-1.7.0", 1) + bytes(12)
        front += bytes(-len(front) % 8)
    return front + header + b"".join(rows) + strings


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("old", [False, True])
def test_cache(order: str, old: bool) -> None:
    """Both byte orders, alone and behind the oldest format; order of paths is kept."""
    data = cache_bytes(
        [("liba.so.1", "/lib/liba.so.1", 0), ("libb.so", "/x/libb.so", 0), ("liba.so.1", "/y", 0)],
        order=order,
        old=old,
    )
    assert read_cache(data) == {"liba.so.1": ("/lib/liba.so.1", "/y"), "libb.so": ("/x/libb.so",)}


def test_variants_for_some_processors_are_passed_over() -> None:
    """A library from glibc-hwcaps/x86-64-v3 would not run on every machine of the kind."""
    data = cache_bytes([("liba.so", "/lib/glibc-hwcaps/x86-64-v3/liba.so", 1 << 62)])
    assert read_cache(data) == {}


@given(
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=6)), max_size=5),
    st.integers(0, 400),
    st.booleans(),
)
@settings(max_examples=500)
def test_a_damaged_cache_is_said_to_be_one(
    changes: list[tuple[int, bytes]], size: int, old: bool
) -> None:
    """Whatever bytes change or are missing: an answer, or DamagedCache."""
    entries = [(f"lib{n}.so.{n}", f"/usr/lib/lib{n}.so.{n}", 0) for n in range(4)]
    data = bytearray(cache_bytes(entries, old=old))
    for at, new in changes:
        data[at : at + len(new)] = new
    with contextlib.suppress(DamagedCache):
        read_cache(bytes(data[:size]))


@given(st.binary(max_size=200))
def test_any_bytes_are_no_cache(tail: bytes) -> None:
    """The magic alone promises nothing, and without it there is nothing."""
    for data in (tail, b"glibc-ld.so.cache1.1" + tail, b"ld.so-1.7.0" + tail):
        with contextlib.suppress(DamagedCache):
            read_cache(data)


def test_a_machine_without_a_cache(tmp_path: Path) -> None:
    """Without a sound cache the usual folders are left."""
    (tmp_path / "cache").write_bytes(b"broken")
    for path in (tmp_path / "cache", tmp_path / "absent"):
        loader = Loader.here(str(path))
        assert loader.cache == {}
        assert "/usr/lib/libx.so.1" in set(loader.paths("libx.so.1"))


@pytest.mark.skipif(shutil.which("ldconfig") is None, reason="NOT PROVEN HERE: no ldconfig")
def test_this_machines_cache_as_ldconfig_reads_it() -> None:
    """The loader's own tool prints the same pairs."""
    run = subprocess.run(["ldconfig", "-p"], check=True, capture_output=True, text=True)
    theirs = set()
    for line in run.stdout.splitlines()[1:]:
        name, arrow, path = line.strip().partition(" => ")
        if arrow and "hwcap" not in name:
            theirs.add((name.split()[0], path))
    ours = {(name, path) for name, paths in Loader.here().cache.items() for path in paths}
    assert ours == theirs


# ---- what is carried -------------------------------------------------------------------------


def test_a_library_and_what_it_needs(machine: Machine) -> None:
    """A library of the machine is carried under its soname, with all that it needs in turn."""
    name = f"{DYNLOAD}/_ssl.so"
    machine.inside(name, elf(["libssl.so.3", "libc.so.6"], runpath=str(machine.prefix / "lib")))
    ssl = machine.library("libssl.so.3", elf(["libcrypto.so.3", "libc.so.6"]))
    crypto = machine.library("libcrypto.so.3", elf(["libc.so.6"]))
    found = machine.resolve()
    assert found.carried == (("lib/libcrypto.so.3", crypto), ("lib/libssl.so.3", ssl))
    assert found.host == (Want("libc.so.6", "bin/python"),)
    assert [*found.missing, *found.lacking, *found.rivals] == []
    assert found.rpaths == {
        "bin/python": ("$ORIGIN/../lib",),
        "lib/libpython3.12.so.1.0": ("$ORIGIN",),
        name: ("$ORIGIN/../..",),
        "lib/libssl.so.3": ("$ORIGIN",),
    }
    assert found.elves == 5


def test_nothing_carried_nothing_edited(machine: Machine) -> None:
    """An interpreter that has all it needs is left as it is."""
    found = machine.resolve()
    assert found.carried == ()
    assert found.rpaths == {}


def test_links_are_followed_to_the_real_file(machine: Machine) -> None:
    """A soname is mostly a link to the versioned file, whose bytes are carried."""
    real = machine.library("libx.so.1.2.3", elf())
    (machine.usr / "libx.so.1").symlink_to("libx.so.1.2.3")
    machine.cache["libx.so.1"] = (str(machine.usr / "libx.so.1"),)
    machine.inside(f"{SITE}/x.so", elf(["libx.so.1"]))
    assert machine.resolve().carried == (("lib/libx.so.1", real),)


def test_modes(machine: Machine) -> None:
    """Auto leaves libstdc++ to the host, all carries it, none carries nothing and says so."""
    machine.inside(f"{SITE}/x.so", elf(["libstdc++.so.6", "libx.so.1"]))
    machine.library("libstdc++.so.6", elf())
    machine.library("libx.so.1", elf())
    auto, everything, nothing = (machine.resolve(mode) for mode in (AUTO, ALL, NONE))
    assert [name for name, _ in auto.carried] == ["lib/libx.so.1"]
    assert auto.lacking == (Want("libstdc++.so.6", f"{SITE}/x.so"),)
    assert carried(everything) == ["lib/libstdc++.so.6", "lib/libx.so.1"]
    assert nothing.carried == ()
    assert nothing.rpaths == {}
    wanted = ("libstdc++.so.6", "libx.so.1")
    assert nothing.lacking == tuple(Want(soname, f"{SITE}/x.so") for soname in wanted)


def test_all_brings_what_the_c_library_opens(machine: Machine) -> None:
    """When a thread ends, glibc opens libgcc_s; without it the process aborts."""
    assert machine.resolve().carried == ()
    assert [name for name, _ in machine.resolve(ALL).carried] == ["lib/libgcc_s.so.1"]


def test_missing_is_named_with_each_file(machine: Machine) -> None:
    """A library found nowhere is told with every file that wants it."""
    machine.inside(f"{SITE}/x.so", elf(["libgone.so.1"]))
    machine.inside(f"{SITE}/y.so", elf(["libgone.so.1"]))
    expected = (Want("libgone.so.1", f"{SITE}/x.so"), Want("libgone.so.1", f"{SITE}/y.so"))
    assert all(machine.resolve(mode).missing == expected for mode in BundleLibs)


def test_parts_of_glibc_stay_whatever_their_name(machine: Machine) -> None:
    """Debian's libnsl.so.1 wants GLIBC_PRIVATE, which only its own glibc has."""
    versions = {"libc.so.6": ["GLIBC_2.4", "GLIBC_PRIVATE"]}
    machine.library("libnsl.so.1", elf(["libc.so.6"], versions=versions))
    machine.inside(f"{SITE}/x.so", elf(["libnsl.so.1"]))
    for mode in BundleLibs:
        found = machine.resolve(mode)
        assert [*carried(found), *found.missing, *found.lacking] == []
        assert Want("libnsl.so.1", f"{SITE}/x.so") in found.host


def test_of_two_libraries_of_one_name_one_is_carried(machine: Machine) -> None:
    """A soname has one place in the pack; the other library is reported."""
    opt = str(machine.root / "opt")
    kept = machine.library("libx.so.1", elf())
    other = machine.library("libx.so.1", elf(soname="libx.so.1"), opt, cached=False)
    machine.inside(f"{SITE}/a.so", elf(["libx.so.1"]))
    machine.inside(f"{SITE}/b.so", elf(["libx.so.1"], rpath=opt))
    found = machine.resolve()
    assert found.carried == (("lib/libx.so.1", kept),)
    assert found.rivals == (Rival("libx.so.1", kept, other, f"{SITE}/b.so"),)


def test_the_archives_own_library_wins(machine: Machine) -> None:
    """What lies in lib already is not replaced by another one of that name."""
    own = machine.inside("lib/libx.so.1", elf(soname="libx.so.1"))
    other = machine.library("libx.so.1", elf())
    machine.inside(f"{SITE}/a.so", elf(["libx.so.1"]))
    found = machine.resolve()
    assert found.carried == ()
    assert found.rivals == (Rival("libx.so.1", own, other, f"{SITE}/a.so"),)


def test_other_kinds_of_machine_do_not_fit(machine: Machine) -> None:
    """A library for another processor or of another class is passed over, as by the loader."""
    machine.library("libx.so.1", elf(machine=183), str(machine.root / "arm"))
    machine.library("libx.so.1", elf(wide=False, machine=3), str(machine.root / "i386"))
    machine.inside(f"{SITE}/a.so", elf(["libx.so.1"]))
    assert machine.resolve().missing == (Want("libx.so.1", f"{SITE}/a.so"),)
    right = machine.library("libx.so.1", elf())
    assert machine.resolve().carried == (("lib/libx.so.1", right),)


def test_files_that_are_none(machine: Machine) -> None:
    """Linker scripts, empty, absent and damaged files want nothing."""
    machine.inside(f"{SITE}/a.so", b"INPUT(-lx)")
    machine.inside(f"{SITE}/b.so", b"")
    machine.inside(f"{SITE}/c.so", elf(["libx.so.1"])[:90])
    machine.files.append((f"{SITE}/d.so", str(machine.root / "absent")))
    found = machine.resolve()
    assert found.elves == 2
    assert found.missing == ()


# ---- where the loader looks ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "$ORIGIN/../x.libs",
        "${ORIGIN}/../x.libs",
        "$ORIGIN/./../x.libs/",
        "/nowhere:$ORIGIN/../x.libs",
    ],
)
@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_repaired_wheels_are_left_alone(machine: Machine, path: str, tag: str) -> None:
    """What auditwheel put beside a package is found there, so neither carried nor edited."""
    machine.library("libx-1a2b.so.1", elf())
    where = {"rpath": None, "runpath": None, tag: path}
    data = elf(["libx-1a2b.so.1"], rpath=where["rpath"], runpath=where["runpath"])
    machine.inside(f"{SITE}/x/a.so", data)
    machine.inside(f"{SITE}/x.libs/libx-1a2b.so.1", elf())
    found = machine.resolve()
    assert (found.carried, found.missing, found.rpaths) == ((), (), {})


def test_a_wheel_needs_no_edit_for_what_python_hands_down(machine: Machine) -> None:
    """DT_RPATH of python and libpython counts for all they load, unless a file has DT_RUNPATH."""
    machine.library("libstdc++.so.6", elf())
    machine.inside(f"{SITE}/x/a.so", elf(["libstdc++.so.6"]))
    machine.inside(f"{SITE}/x/b.so", elf(["libstdc++.so.6"], rpath="$ORIGIN/../x.libs"))
    machine.inside(f"{SITE}/x/c.so", elf(["libstdc++.so.6"], runpath="$ORIGIN/../x.libs"))
    machine.inside(f"{SITE}/x/program", elf(["libstdc++.so.6"]))
    assert machine.resolve(ALL).rpaths == {
        "bin/python": ("$ORIGIN/../lib",),
        "lib/libpython3.12.so.1.0": ("$ORIGIN",),
        f"{SITE}/x/c.so": ("$ORIGIN/../../..",),
        f"{SITE}/x/program": ("$ORIGIN/../../..",),
    }


def test_one_that_hands_down_is_enough(machine: Machine) -> None:
    """A libpython without DT_RUNPATH needs no edit: python, which loads it, has the path."""
    lib = "lib/libpython3.12.so.1.0"
    machine.files[1] = (lib, machine.write(str(machine.root / "p"), elf(["libc.so.6"])))
    machine.library("libx.so.1", elf())
    machine.inside(f"{SITE}/a.so", elf(["libx.so.1"]))
    assert machine.resolve().rpaths == {"bin/python": ("$ORIGIN/../lib",)}
    del machine.files[0]
    assert machine.resolve().rpaths == {lib: ("$ORIGIN",)}


def test_without_python_every_file_is_told(machine: Machine) -> None:
    """A pack without an interpreter has nobody to hand anything down."""
    machine.files.clear()
    machine.library("libx.so.1", elf())
    machine.inside(f"{SITE}/a.so", elf(["libx.so.1"]))
    assert machine.resolve().rpaths == {f"{SITE}/a.so": ("$ORIGIN/../..",)}


def test_a_package_may_load_its_libraries_itself(machine: Machine) -> None:
    """A library of the same package counts as found; another package's does not."""
    machine.inside(f"{SITE}/x/a.so", elf(["libown.so.1"]))
    machine.inside(f"{SITE}/x/deep/libown.so.1", elf())
    machine.inside(f"{SITE}/X.libs/libother.so.1", elf())
    machine.inside(f"{SITE}/x/b.so", elf(["libother.so.1"]))
    machine.inside(f"{SITE}/y/c.so", elf(["libown.so.1"]))
    theirs = machine.library("libown.so.1", elf())
    machine.library("libother.so.1", elf())
    assert machine.resolve().carried == (("lib/libown.so.1", theirs),)
    machine.cache.clear()
    assert machine.resolve().missing == (), "somebody in the archive has it"


def test_libpython_is_never_carried(machine: Machine) -> None:
    """An extension linked to libpython uses the one in the process, not the system's."""
    machine.library("libpython3.12.so.1.0", elf())
    machine.inside(f"{SITE}/a.so", elf(["libpython3.12.so.1.0"], runpath=str(machine.usr)))
    found = machine.resolve()
    assert (found.carried, found.missing) == ((), ())
    machine.inside(f"{SITE}/b.so", elf(["libpython3.9.so.1.0"]))
    machine.library("libpython3.9.so.1.0", elf())
    assert machine.resolve().missing == (Want("libpython3.9.so.1.0", f"{SITE}/b.so"),)


def test_order_of_the_search(machine: Machine) -> None:
    """The file's own path comes before the cache, the cache before the folders."""
    own = machine.library("libx.so.1", elf(), str(machine.root / "own"), cached=False)
    last = machine.library("libx.so.1", elf(), str(machine.root / "last"), cached=False)
    cached = machine.library("libx.so.1", elf())
    folders = [str(machine.root / "last")]
    machine.inside(f"{SITE}/a.so", elf(["libx.so.1"], rpath=str(machine.root / "own")))
    assert machine.resolve(folders=folders).carried == (("lib/libx.so.1", own),)
    machine.files[-1] = (f"{SITE}/a.so", machine.write(str(machine.root / "a"), elf(["libx.so.1"])))
    assert machine.resolve(folders=folders).carried == (("lib/libx.so.1", cached),)
    machine.cache.clear()
    assert machine.resolve(folders=folders).carried == (("lib/libx.so.1", last),)


def test_ld_library_path_of_the_packing_process(machine: Machine) -> None:
    """It comes behind the archive's own and DT_RPATH, and before DT_RUNPATH and the cache."""
    folders = {name: str(machine.root / name) for name in ("run", "own", "told")}
    for folder in folders.values():
        machine.library("libx.so.1", elf(), folder, cached=False)
    machine.library("libx.so.1", elf())
    told = Loader(machine.cache, (), (folders["told"],))

    def carried_for(data: bytes) -> str:
        files = [*machine.files, (f"{SITE}/a.so", machine.write(str(machine.root / "a"), data))]
        found = resolve(files, (Move(str(machine.prefix), ""),), AUTO, loader=told)
        return found.carried[0][1].split("/")[-2]

    assert carried_for(elf(["libx.so.1"])) == "told"
    assert carried_for(elf(["libx.so.1"], runpath=folders["run"])) == "told"
    assert carried_for(elf(["libx.so.1"], rpath=folders["own"])) == "own"
    absolute = f"{folders['run']}/libx.so.1"
    assert carried_for(elf([absolute])) == "run"


def test_ld_library_path_into_the_archive(machine: Machine) -> None:
    """A library of the environment that only the variable leads to is found there without it."""
    machine.inside("opt/lib/libx.so.1", elf())
    machine.inside(f"{SITE}/a.so", elf(["libx.so.1"]))
    told = Loader({}, (), (str(machine.prefix / "opt/lib"),))
    found = resolve(machine.files, (Move(str(machine.prefix), ""),), AUTO, loader=told)
    assert (found.missing, found.carried) == ((), ())
    assert found.rpaths[f"{SITE}/a.so"] == ("$ORIGIN/../../../opt/lib",)


def test_what_ld_library_path_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Colons and semicolons part folders; what means the current folder is passed over."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/a/lib:;/b:lib:.:")
    assert Loader.here(str(tmp_path / "none")).told == ("/a/lib", "/b")
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert Loader.here(str(tmp_path / "none")).told == ()


def test_a_folder_that_is_no_longer_needed_is_dropped(machine: Machine) -> None:
    """A library is carried from it, or it had the C library; what it may have else stays."""
    site = str(machine.root / "apps/lib")
    machine.library("libx.so.1", elf(), site, cached=False)
    nix = str(machine.root / "nix/lib")
    machine.library("libc.so.6", elf(soname="libc.so.6"), nix, cached=False)
    machine.library("libstdc++.so.6", elf(), str(machine.root / "gcc"), cached=False)
    search = f"$ORIGIN/x:{site}:{nix}:{machine.root}/gcc:/gone:/usr/lib64/x:/lib"
    machine.inside(
        f"{SITE}/a.so", elf(["libx.so.1", "libc.so.6", "libstdc++.so.6"], runpath=search)
    )
    machine.inside(f"{SITE}/b.so", elf(["libx.so.1"], rpath=site))
    found = machine.resolve()
    assert found.dropped == {f"{SITE}/a.so": (site, nix), f"{SITE}/b.so": (site,)}
    assert found.foreign == (
        (f"{SITE}/a.so", f"{machine.root}/gcc"),
        (f"{SITE}/a.so", "/gone"),
    )
    assert found.rpaths[f"{SITE}/b.so"] == ("$ORIGIN/../..",)
    nothing = machine.resolve(NONE)
    assert nothing.dropped == {f"{SITE}/a.so": (nix,)}
    assert (f"{SITE}/b.so", site) in nothing.foreign


def test_only_what_the_interpreter_wants_alone_can_stay(machine: Machine) -> None:
    """Of libraries that raise the floor; what a package wants comes, whoever else wants it."""
    new = {"libc.so.6": ["GLIBC_2.40"]}
    old = {"libc.so.6": ["GLIBC_2.17"]}
    machine.inside(f"{DYNLOAD}/_a.so", elf(["libnew.so.1", "libold.so.1", "libboth.so.1"]))
    machine.inside(f"{DYNLOAD}/_b.so", elf(["libover.so.1", "libc.so.6"], versions=old))
    machine.inside(f"{SITE}/p.so", elf(["libboth.so.1"]))
    machine.library("libnew.so.1", elf(["libc.so.6"], versions=new))
    machine.library("libboth.so.1", elf(["libunder.so.1", "libc.so.6"], versions=old))
    machine.library("libunder.so.1", elf(["libc.so.6"], versions=old))
    machine.library("libold.so.1", elf(["libc.so.6"], versions=old))
    machine.library("libover.so.1", elf(["libnew.so.1"]))

    def found(mode: BundleLibs = AUTO) -> Native:
        loader = Loader(machine.cache, ())
        moves = (Move(str(machine.prefix), ""),)
        spares = lambda name: not name.startswith(SITE)  # noqa: E731 - one line of a test
        return resolve(machine.files, moves, mode, loader=loader, spares=spares)

    assert carried(found()) == ["lib/libboth.so.1", "lib/libold.so.1", "lib/libunder.so.1"]
    assert found().lacking == (
        Want("libnew.so.1", f"{DYNLOAD}/_a.so"),
        Want("libover.so.1", f"{DYNLOAD}/_b.so"),
    )
    assert found().floor.glibc == Need("2.17", f"{DYNLOAD}/_b.so")
    machine.inside(f"{SITE}/q.so", elf(["libnew.so.1"]))
    assert carried(found()) == sorted(
        f"lib/{name}"
        for name in machine.cache
        if "lib" in name and name not in {"libc.so.6", "libgcc_s.so.1"}
    )
    assert found().floor.glibc == found().raised == Need("2.40", "lib/libnew.so.1")
    assert found().wanters["lib/libnew.so.1"] == f"{SITE}/q.so"


def test_rpath_is_handed_down_and_runpath_is_not(machine: Machine) -> None:
    """DT_RPATH of a library counts for what its needs need; DT_RUNPATH for its own needs alone."""
    opt = str(machine.root / "opt")
    machine.library("liba.so", elf(["libb.so"]), opt, cached=False)
    machine.library("libb.so", elf(), opt, cached=False)
    machine.inside(f"{SITE}/x.so", elf(["liba.so"], rpath=opt))
    assert [n for n, _ in machine.resolve().carried] == ["lib/liba.so", "lib/libb.so"]
    path = machine.write(str(machine.root / "x"), elf(["liba.so"], runpath=opt))
    machine.files[-1] = (f"{SITE}/x.so", path)
    assert machine.resolve().missing == (Want("libb.so", "lib/liba.so"),)


def test_origin_of_a_carried_library_is_where_it_was(machine: Machine) -> None:
    """A library of the machine looks beside itself there; in the pack both lie in lib."""
    opt = str(machine.root / "opt/lib")
    machine.library("liba.so", elf(["libb.so"], runpath="$ORIGIN/private"), opt)
    private = machine.library("libb.so", elf(), f"{opt}/private", cached=False)
    machine.inside(f"{SITE}/x.so", elf(["liba.so"]))
    found = machine.resolve()
    assert ("lib/libb.so", private) in found.carried
    assert found.rpaths["lib/liba.so"] == ("$ORIGIN",)


def test_lib_and_platform(machine: Machine) -> None:
    """$LIB is lib64 or Debian's lib/x86_64-linux-gnu, $PLATFORM the processor."""
    for number, folder in enumerate(("lib64", "lib/x86_64-linux-gnu", "x86_64")):
        machine.library(f"lib{number}.so", elf(), f"{machine.root}/opt/{folder}", cached=False)
    path = f"{machine.root}/opt/$LIB:{machine.root}/opt/${{PLATFORM}}"
    machine.inside(f"{SITE}/x.so", elf(["lib0.so", "lib1.so", "lib2.so"], runpath=path))
    assert len(machine.resolve().carried) == 3


def test_absolute_needs(machine: Machine) -> None:
    """An absolute DT_NEEDED is in the archive, or carried and made bare, or missing."""
    inside = machine.inside("lib/libin.so", elf())
    outside = machine.library("libout.so", elf(), cached=False)
    machine.inside(f"{SITE}/x.so", elf([inside, outside, "/gone/libgone.so"]))
    machine.inside("bin/tool", elf(["$ORIGIN/../lib/libin.so"]))
    found = machine.resolve()
    assert found.carried == (("lib/libout.so", outside),)
    assert found.bare == {"libout.so"}
    assert found.rpaths[f"{SITE}/x.so"] == ("$ORIGIN/../..",)
    assert found.missing == (Want("libgone.so", f"{SITE}/x.so"),)


def test_the_floor_is_that_of_files_and_carried_libraries(machine: Machine) -> None:
    """A carried library raises the floor; versions of libraries in the pack do not count."""
    versions = {"libc.so.6": ["GLIBC_2.36"]}
    machine.library("libx.so.1", elf(["libc.so.6"], versions=versions))
    wants = {"libstdc++.so.6": ["GLIBCXX_3.4.30"], "libc.so.6": ["GLIBC_2.17"]}
    machine.inside(
        f"{SITE}/a.so", elf(["libx.so.1", "libstdc++.so.6", "libc.so.6"], versions=wants)
    )
    machine.library("libstdc++.so.6", elf())
    auto, everything = machine.resolve(AUTO).floor, machine.resolve(ALL).floor
    assert auto.glibc == everything.glibc
    assert auto.glibc is not None
    assert auto.glibc == Need("2.36", "lib/libx.so.1")
    assert machine.resolve().own_floor.glibc == Need("2.17", f"{SITE}/a.so")
    assert machine.resolve().raised == Need("2.36", "lib/libx.so.1")
    assert auto.glibcxx is not None
    assert everything.glibcxx is None


def test_the_same_answer_in_the_same_order(machine: Machine) -> None:
    """Two runs give the same, key by key."""
    for number in range(5):
        machine.library(f"lib{number}.so", elf(["libc.so.6"]))
        machine.inside(f"{SITE}/{number}.so", elf([f"lib{number}.so"], runpath="/x"))
    one, two = machine.resolve(), machine.resolve()
    assert one == two
    assert list(one.rpaths) == list(two.rpaths)


# ---- what goes with a library ----------------------------------------------------------------


def test_terminals_and_scripts(tmp_path: Path) -> None:
    """Each entry comes from the first place that has it; scripts come whole, by their marker."""
    for name in ("a/x/xterm", "b/x/xterm", "b/v/vt100", "a/l/lisa", "c/tcl8.6/deep/init.tcl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "d/tcl8.6").mkdir(parents=True)
    table = (
        Companion(
            re.compile("libtinfo"),
            (f"{tmp_path}/a", f"{tmp_path}/b"),
            "share/terminfo",
            ("x/xterm", "v/vt100", "d/dumb"),
        ),
        Companion(
            re.compile(r"lib(tcl\d\.\d)"),
            ("{folder}/{0}", f"{tmp_path}/c/{{0}}"),
            "lib/{0}",
            marker="deep/init.tcl",
        ),
    )
    libraries = {"libtinfo.so.6": "/x", "libtcl8.6.so": f"{tmp_path}/d/libtcl8.6.so"}
    assert companions(libraries, table) == (
        ("lib/tcl8.6/deep/init.tcl", f"{tmp_path}/c/tcl8.6/deep/init.tcl"),
        ("share/terminfo/v/vt100", f"{tmp_path}/b/v/vt100"),
        ("share/terminfo/x/xterm", f"{tmp_path}/a/x/xterm"),
    )
    assert companions({"libssl.so.3": "/x"}) == ()


def test_licences_as_dpkg_knows_them(tmp_path: Path) -> None:
    """A library's package and copyright file are found through dpkg's lists, links followed."""
    library = tmp_path / "usr/lib/libx.so.1.2"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    info, doc = tmp_path / "info", tmp_path / "doc"
    (doc / "libx1").mkdir(parents=True)
    (doc / "libx1/copyright").write_text("free")
    info.mkdir()
    (tmp_path / "lib").symlink_to("usr/lib")  # merged /usr: dpkg knows the other path
    (info / "libx1:amd64.list").write_text(f"/.\n{tmp_path}/lib/libx.so.1.2\n")
    (info / "other.list").write_text("/.\n/elsewhere/libx.so.1.2\n")
    libraries = {"libx.so.1": str(library), "liby.so.1": "/opt/liby.so.1"}
    found = licences(libraries, str(info), str(doc))
    assert [(one.soname, one.package) for one in found] == [
        ("libx.so.1", "libx1"),
        ("liby.so.1", ""),
    ]
    assert found[0].path == str(doc / "libx1/copyright")
    assert licences(libraries, str(tmp_path / "absent"))[0].package == ""


# ---- the edit --------------------------------------------------------------------------------


def apply(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Do what the pipeline does with edits."""
    return b"".join(spliced([data], edits))


def paths_of(data: bytes) -> list[tuple[str, str]]:
    """Return the search paths that LIEF, a reader that is not ours, finds, by tag."""
    binary = lief.ELF.parse(data)
    assert binary is not None
    found = []
    for entry in list(binary.dynamic_entries):
        if isinstance(entry, lief.ELF.DynamicEntryRpath):
            found.append(("RPATH", str(entry.rpath)))
        elif isinstance(entry, lief.ELF.DynamicEntryRunPath):
            found.append(("RUNPATH", str(entry.runpath)))
    return found


RELACOUNT = (0x6FFFFFF9, 3)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("room", ["spare", "relacount"])
def test_a_path_is_added_to_a_file_without_one(wide: bool, order: str, room: str) -> None:
    """A DT_NULL that the linker left, or else a mere hint, becomes DT_RPATH."""
    machines = {(True, "<"): 62, (True, ">"): 22, (False, "<"): 40, (False, ">"): 20}
    data = elf(
        ["libc.so.6"],
        wide=wide,
        order=order,
        machine=machines[wide, order],
        note=True,
        spare=2 * (room == "spare"),
        extra=[RELACOUNT] * (room == "relacount"),
    )
    edits = with_rpath(data, ("$ORIGIN",))
    new = apply(data, edits)
    assert paths_of(new) == [("RPATH", "$ORIGIN")]
    assert {edit.why for edit in edits} <= set(ElfRelocator.why)
    assert with_rpath(new, ("$ORIGIN",)) == ()


def test_no_room_at_all_is_left_alone() -> None:
    """Without an entry or a program header to give away nothing changes; python's path helps."""
    for data in (elf(["libc.so.6"], note=True), elf(["libc.so.6"], spare=3)):
        for name, alone in (("lib/x.so", False), ("bin/tool", True)):
            with pytest.raises(NoRoom) as caught:
                edits_with(name, data, (), ("$ORIGIN",))
            assert caught.value.alone == alone
    with pytest.raises(NoRoom) as caught:
        edits_with("lib/x.so", elf(runpath="/x"), (), ("$ORIGIN",))
    assert caught.value.alone
    assert with_rpath(b"text", ("$ORIGIN",)) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("$ORIGIN/../x.libs", "$ORIGIN/../x.libs:$ORIGIN/../lib"),
        ("/opt/host", "$ORIGIN/../lib:/opt/host"),
        ("$ORIGIN/x:/opt/host:$ORIGIN/y", "$ORIGIN/x:$ORIGIN/../lib:/opt/host:$ORIGIN/y"),
        ("/build/env/lib:/opt/host", "$ORIGIN/../lib:/opt/host"),
        ("$ORIGIN/../lib", "$ORIGIN/../lib"),
    ],
)
@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_behind_the_archive_and_before_the_host(old: str, new: str, tag: str) -> None:
    """Own libraries first, then the carried ones, then the host's; always as DT_RPATH."""
    where = {"rpath": None, "runpath": None, tag: old}
    data = elf(["libx.so.1"], note=True, spare=1, rpath=where["rpath"], runpath=where["runpath"])
    moves = (Move("/build/env", ""),)
    done = apply(data, edits_with("bin/a.so", data, moves, ("$ORIGIN/../lib",)))
    assert paths_of(done) == [("RPATH", new)]
    assert edits_with("bin/a.so", done, moves, ("$ORIGIN/../lib",)) == ()


def test_relocation_is_done_too() -> None:
    """A file that needs no directory gets the edits of relocation alone."""
    data = (FIXTURES / "runpath.so").read_bytes()
    moves = (Move("/build/env", ""),)
    assert edits_with("bin/a.so", data, moves, ()) != ()
    both = apply(data, edits_with("lib/x/a.so", data, moves, ("$ORIGIN/../y",)))
    assert b"/build" not in both
    assert "$ORIGIN/../y" in paths_of(both)[0][1]


def test_absolute_names_of_carried_libraries_become_bare() -> None:
    """A carried library that was needed by its path is found by its name."""
    data = (FIXTURES / "needed.so").read_bytes()
    edits = edits_with("lib/a.so", data, (), ("$ORIGIN",), {"libdep.so.1"})
    new = apply(data, edits)
    binary = lief.ELF.parse(new)
    assert binary is not None
    assert list(binary.libraries) == ["libdep.so.1"]
    assert paths_of(new) == [("RPATH", "$ORIGIN")]


def test_a_large_file_is_not_read() -> None:
    """Tables are read, not the rest of the file."""
    view = Counting(elf(["libc.so.6"], note=True, spare=1) + bytes(20_000_000))
    assert with_rpath(view, ("$ORIGIN",))
    assert view.bytes < 20_000


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_harmless(name: str) -> None:
    """A file cut at any byte gives edits that fit it, or none."""
    data = (FIXTURES / name).read_bytes()
    for size in range(0, len(data), 5):
        check_sound(data[:size])


@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=8)), max_size=6),
)
@settings(max_examples=300)
def test_damage_is_harmless(name: str, changes: list[tuple[int, bytes]]) -> None:
    """Whatever bytes change: no exception, no endless loop, and edits that fit the file."""
    data = bytearray((FIXTURES / name).read_bytes())
    for at, new in changes:
        place = at % len(data)
        data[place : place + len(new)] = new[: len(data) - place]
    check_sound(bytes(data))


def check_sound(data: bytes) -> None:
    """Check that edits are in order, within the file, and keep its size but for its end."""
    done = 0
    try:
        edits = with_rpath(Counting(data), ("$ORIGIN", "$ORIGIN/../lib"))
    except NoRoom:
        return
    for edit in edits:
        assert done <= edit.start <= edit.stop <= len(data)
        if edit.start != len(data):
            assert len(edit.data) == edit.stop - edit.start
        done = edit.stop


# ---- the loader itself -----------------------------------------------------------------------


def build(folder: Path, name: str, code: str, *options: str) -> Path:
    """Link a shared library or, for names without `.so`, a program."""
    source = folder / f"{name}.c"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(code)
    kind = ["-shared", "-fPIC", f"-Wl,-soname,{name}"] if ".so" in name else []
    command = ["gcc", *kind, "-o", str(folder / name), str(source), *options]
    subprocess.run(command, check=True)
    return folder / name


@runs_here
@needs_gcc
@pytest.mark.parametrize("tags", ["", "-Wl,-z,norelro", "-Wl,--hash-style=sysv"])
@pytest.mark.parametrize("spare", [1, 5])
def test_a_program_finds_what_was_carried(tmp_path: Path, tags: str, spare: int) -> None:
    """A program, its library and that library's library run where only the pack has them."""
    here = tmp_path / "here"
    options = [f"-Wl,--spare-dynamic-tags={spare}", *([tags] if tags else [])]
    table = "int two(void); static int (*t[])(void) = {two}; int one(void) { return t[0](); }"
    two = build(here, "libtwo.so.1", "int two(void) { return 42; }", *options)
    one = build(here, "libone.so.1", table, str(two), *options)
    needs = [str(one), f"-Wl,-rpath-link,{here}", *options]
    code = "int one(void); int main(void) { return one(); }"
    program = build(tmp_path / "built", "program", code, *needs)
    loader = Loader({"libone.so.1": (str(one),), "libtwo.so.1": (str(two),)})
    found = resolve([("bin/program", str(program))], (), AUTO, loader=loader)
    assert [name for name, _ in found.carried] == ["lib/libone.so.1", "lib/libtwo.so.1"]
    pack = tmp_path / "moved é here"
    for name, path in (("bin/program", str(program)), *found.carried):
        data = Path(path).read_bytes()
        edits = edits_with(name, data, (), found.rpaths.get(name, ()))
        assert bool(edits) == (name != "lib/libtwo.so.1")
        target = pack / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(apply(data, edits))
        target.chmod(0o755)
    shutil.rmtree(here)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for soname in ("libone.so.1", "libtwo.so.1"):
        (foreign / soname).write_bytes(b"not a library")
    for env in ({}, {"LD_LIBRARY_PATH": str(foreign)}):
        assert subprocess.run([str(pack / "bin/program")], check=False, env=env).returncode == 42


def pyenv() -> Path | None:
    """Return a CPython that was built here with a shared library and an absolute RUNPATH."""
    for path in sorted(Path("~/.pyenv/versions").expanduser().glob("3.1[23].*")):
        if any((path / "lib").glob("libpython3.1?.so.1.0")):
            return path
    return None


PROBE = """
import json, sys
import _bz2, _ctypes, _lzma, _sqlite3, _ssl, readline, zlib
maps = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if ".so" in line}
print(json.dumps(sorted(path for path in maps if not path.startswith(sys.prefix))))
"""


@runs_here
@pytest.mark.skipif(pyenv() is None, reason="NOT PROVEN HERE: no pyenv build of Python")
def test_a_real_interpreter_uses_what_it_carries(tmp_path: Path) -> None:
    """With --bundle-libs all nothing but glibc is taken from the host, though the host has it."""
    source = pyenv()
    assert source is not None
    minor = ".".join(source.name.split(".")[:2])
    skip = shutil.ignore_patterns("site-packages", "test", "__pycache__", "config-*", "idlelib")
    stdlib = f"lib/python{minor}"
    shutil.copytree(source / stdlib, tmp_path / stdlib, ignore=skip)
    names = [f"{stdlib}/lib-dynload/{p.name}" for p in (tmp_path / stdlib).glob("lib-dynload/*.so")]
    libpython = f"lib/libpython{minor}.so.1.0"
    files = [("bin/python", str(source / f"bin/python{minor}"))]
    files += [(name, str(source / name)) for name in (libpython, *sorted(names))]
    moves = (Move(str(source), ""),)
    found = resolve(files, moves, ALL)
    assert found.missing == ()
    assert {group.name for w in found.lacking if (group := group_of(w.soname))} <= {"desktop"}
    sonames = {name for name, _ in found.carried}
    assert {"lib/libssl.so.3", "lib/libz.so.1", "lib/libgcc_s.so.1"} <= sonames
    assert found.floor.glibc is not None
    assert any(name.startswith("share/terminfo/x/xterm") for name, _ in found.companions)
    for name, path in (*files, *found.carried):
        data = Path(path).read_bytes()
        edits = edits_with(name, data, moves, found.rpaths.get(name, ()), found.bare)
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(apply(data, edits))
        target.chmod(0o755)
    run = subprocess.run(
        [str(tmp_path / "bin/python"), "-IBc", PROBE],
        check=True,
        capture_output=True,
        text=True,
        env={},
    )
    outside = {os.path.basename(path).split(".so")[0] for path in json.loads(run.stdout)}
    assert outside <= {"libc", "libm", "libdl", "libpthread", "libresolv", "ld-linux-x86-64"}
