"""The folder of distributions: what is written can be read, by us and by others."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.pylock import Pylock

from envpack.errors import ProjectFault
from envpack.wheelhouse import (
    Built,
    Listed,
    Origin,
    Record,
    Stored,
    pylock_text,
    read_record,
    record_text,
    remove_others,
    requirements_text,
)

SHA = "ab" * 32
ONE = Stored("wheels/one-1.0-py3-none-any.whl", "one", "1.0", SHA, 12)
TWO = Stored("wheels/two-2-cp312-cp312-win_amd64.whl", "two", "2", "cd" * 32, 34)
SOURCE = Stored("sdists/two-2.tar.gz", "two", "2", "ef" * 32, 56)
LISTED = (
    Listed("one", "1.0", None, (ONE,), None, "https://index.example/simple"),
    Listed("two", "2", Marker('sys_platform == "win32"'), (TWO,), SOURCE),
)


def test_requirements() -> None:
    """Every file of a package is one that pip may take, and it looks nowhere else."""
    assert (
        requirements_text(LISTED)
        == f"""\
--no-index
--find-links wheels
--find-links sdists
one==1.0 \\
    --hash=sha256:{SHA}
two==2 ; sys_platform == "win32" \\
    --hash=sha256:{"cd" * 32} \\
    --hash=sha256:{"ef" * 32}
"""
    )


def test_pylock() -> None:
    """packaging takes the pylock.toml as valid, with relative paths, sizes and hashes."""
    lock = Pylock.from_dict(tomllib.loads(pylock_text(LISTED, ">=3.11")))
    assert str(lock.requires_python) == ">=3.11"
    one, two = lock.packages
    assert one.wheels is not None
    assert two.sdist is not None
    assert (one.wheels[0].path, one.wheels[0].size) == (ONE.path, 12)
    assert one.wheels[0].hashes == {"sha256": SHA}
    assert (two.marker, two.sdist.path) == (LISTED[1].marker, SOURCE.path)


names = st.text("abcdefghij-_.0123456789", min_size=1).filter(lambda name: ".." not in name)
origins = st.builds(
    Origin,
    index=st.text(),
    url=st.text(),
    git=st.text(),
    commit=st.text(),
    requested=st.text(),
    path=st.text(),
    editable=st.booleans(),
    hashes=st.dictionaries(st.text(), st.text()),
)
files = st.builds(
    Stored,
    path=names.map(lambda name: f"wheels/{name}"),
    name=st.text(),
    version=st.text(),
    sha256=st.text(),
    size=st.integers(0),
    origin=origins,
    built=st.none() | st.builds(Built, st.text(), st.text(), st.text(), st.text()),
    role=st.sampled_from(["", "build", "python", "uv"]),
)


@pytest.mark.smoke
@given(found=st.lists(files, unique_by=lambda file: file.path))
def test_record_is_read_back(found: list[Stored], tmp_path_factory: pytest.TempPathFactory) -> None:
    """envpack.json gives back what was written."""
    folder = tmp_path_factory.mktemp("record")
    ordered = tuple(sorted(found, key=lambda file: file.path))
    (folder / "envpack.json").write_text(record_text(Record({"uv": "1"}, ordered)), "utf-8")
    record = read_record(str(folder))
    assert record is not None
    assert record.files == ordered
    assert record.about["uv"] == "1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON: it is nested more than 64 times"),
        ("[]", "is damaged"),
        ('{"schema": "envpack.folder/1"}', "is damaged"),
        ('{"schema": "envpack.folder/9", "files": []}', "has the schema `envpack.folder/9`"),
        ('{"schema": "envpack.folder/1", "files": [{"path": 3}]}', "is damaged"),
    ],
)
def test_bad_record(text: str, message: str, tmp_path: Path) -> None:
    """What is no envpack.json of ours is refused by name."""
    (tmp_path / "envpack.json").write_text(text)
    with pytest.raises(ProjectFault, match=message):
        read_record(str(tmp_path))


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "wheels/../../x", "a\\b"])
def test_record_leads_nowhere_else(path: str, tmp_path: Path) -> None:
    """A path that leaves the folder makes the whole record damaged."""
    file = {"path": path, "name": "x", "version": "1", "sha256": SHA, "size": 1}
    value = {"schema": "envpack.folder/1", "files": [file]}
    (tmp_path / "envpack.json").write_text(json.dumps(value))
    with pytest.raises(ProjectFault, match="is damaged"):
        read_record(str(tmp_path))


def test_no_record(tmp_path: Path) -> None:
    """A folder without one is not a download."""
    assert read_record(str(tmp_path)) is None


def test_direct_url() -> None:
    """Repositories and URLs have the direct_url.json that uv writes; an index's files have none."""
    git = Origin(git="https://git.example/x.git", commit="abc", requested="v1", subdirectory="py")
    assert git.direct_url == {
        "url": "https://git.example/x.git",
        "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "v1"},
        "subdirectory": "py",
    }
    url = Origin(url="https://files.example/x.whl")
    assert url.direct_url == {"url": "https://files.example/x.whl", "archive_info": {}}
    assert Origin(url="https://files.example/x.whl", index="https://i.example").direct_url is None


def test_remove_others(tmp_path: Path) -> None:
    """What is not named goes, and nothing outside the folder's own directories."""
    for name in ("wheels/a.whl", "wheels/b.whl", "sdists/c.tar.gz", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert remove_others(str(tmp_path), ["wheels/a.whl"]) == ("wheels/b.whl", "sdists/c.tar.gz")
    assert (tmp_path / "wheels/a.whl").exists()
    assert (tmp_path / "notes.txt").exists()
