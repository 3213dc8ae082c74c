"""Core metadata of wheels and sdists, whole and damaged."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from envpack.core_metadata import core_metadata, field
from envpack.errors import ProjectFault
from tests.shelf import sdist, wheel


def test_a_wheel_and_an_sdist(tmp_path: Path) -> None:
    """METADATA of the one, PKG-INFO of the other."""
    for path in (wheel(tmp_path, "one-two", "1.0"), sdist(tmp_path, "one-two", "1.0")):
        data = core_metadata(str(path))
        assert (field(data, "Name"), field(data, "Version")) == ("one-two", "1.0")
        assert field(data, "Requires-Python") == ""


def test_an_old_sdist(tmp_path: Path) -> None:
    """A zip is read too; one without PKG-INFO has no metadata."""
    path = tmp_path / "old-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("old-1.0/setup.py", "")
    assert core_metadata(str(path)) == b""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("old-1.0/PKG-INFO", "Name: old\nRequires-Python: >=2.7,\n  <4\n")
    assert field(core_metadata(str(path)), "Requires-Python") == ">=2.7, <4"


def test_damage(tmp_path: Path) -> None:
    """Said by name."""
    path = wheel(tmp_path, "one", "1.0")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ProjectFault, match=r"`one-1\.0-py3-none-any\.whl` is damaged"):
        core_metadata(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one/METADATA", "")
    with pytest.raises(ProjectFault, match="holds no METADATA, so it is no wheel"):
        core_metadata(str(path))
    other = sdist(tmp_path, "two", "1.0")
    other.write_bytes(other.read_bytes()[:40])
    with pytest.raises(ProjectFault, match=r"`two-1\.0\.tar\.gz` is damaged"):
        core_metadata(str(other))
