"""Archives of interpreters unpacked to trees that are right wherever they lie."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from envpack.errors import ProjectFault
from envpack.python_tree import unpack_python
from tests.test_python_archive import company_archive, posix, written


def archive(path: Path, top: str, extra: dict[str, tarfile.TarInfo]) -> Path:
    """Write an archive with links, each below `top`, as python-build-standalone has them."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data in {**posix("3.12.1"), "lib/python3.12/os.py": b"import sys\n"}.items():
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size, info.mode = len(data), 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(info, io.BytesIO(data))
        for name, info in extra.items():
            info.name = f"{top}/{name}"
            tar.addfile(info)
    return path


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    """Return a link member."""
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("top", ["python", "python/install"])
def test_a_tree(tmp_path: Path, top: str) -> None:
    """The prefix alone, with links and modes; what is told of each file is what is there."""
    extra = {
        "bin/python": link(tarfile.SYMTYPE, "python3.12"),
        "bin/python3": link(tarfile.LNKTYPE, f"{top}/bin/python3.12"),
    }
    path = archive(tmp_path / "a.tar.gz", top, extra)
    told = unpack_python(str(path), str(tmp_path / "T"))
    found = {p.relative_to(tmp_path / "T").as_posix(): p for p in (tmp_path / "T").rglob("*")}
    assert set(told) == {name for name, p in found.items() if p.is_symlink() or not p.is_dir()}
    assert {"bin/python", "bin/python3", "lib/python3.12/EXTERNALLY-MANAGED"} <= set(told)
    assert told["bin/python"].link == "python3.12"
    for name, made in told.items():
        if not made.link:
            data = found[name].read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (made.sha256, made.size)
            assert made.executable == bool(found[name].stat().st_mode & 0o111)
    assert told["bin/python3"].executable


def test_its_place_is_not_in_it(tmp_path: Path) -> None:
    """`/install` becomes what the running interpreter says of itself."""
    config = b"build_time_vars = {'prefix': '/install', 'LIBDIR': '/install/lib'}\n"
    name = "lib/python3.12/_sysconfigdata__linux_x86_64-linux-gnu.py"
    files = {f"python/{key}": value for key, value in {**posix("3.12.1"), name: config}.items()}
    path = written(tmp_path / "a.tar.gz", files)
    unpack_python(str(path), str(tmp_path / "T"))
    scope: dict[str, dict[str, str]] = {}
    exec((tmp_path / "T" / name).read_text(), scope)  # noqa: S102 - as sysconfig does
    assert "/install" not in scope["build_time_vars"]["LIBDIR"]
    assert scope["build_time_vars"]["LIBDIR"].endswith("/lib")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "../..", "../../"])
def test_links_that_lead_out(tmp_path: Path, target: str) -> None:
    """They are refused."""
    path = archive(tmp_path / "a.tar.gz", "python", {"bin/x": link(tarfile.SYMTYPE, target)})
    with pytest.raises(
        ProjectFault, match=r"`a\.tar\.gz` is refused: its link `bin/x` leads out of it"
    ):
        unpack_python(str(path), str(tmp_path / "T"))


def test_names_that_lead_out(tmp_path: Path) -> None:
    """They are no part of the prefix."""
    path = written(tmp_path / "a.tar.gz", {"python/../../evil": b"x", "python/bin/a": b"a"})
    assert set(unpack_python(str(path), str(tmp_path / "T"))) == {"bin/a"}
    assert not (tmp_path / "evil").exists()


def test_damage(tmp_path: Path) -> None:
    """Said by name."""
    path = company_archive(tmp_path / "a.tar.gz", "3.12.1")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ProjectFault, match=r"`a\.tar\.gz` is damaged"):
        unpack_python(str(path), str(tmp_path / "T"))
