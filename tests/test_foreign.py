"""Whatever a stranger's file is, it ends in a sentence with its name, soon and in little memory."""

from __future__ import annotations

import ast
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import envpack
from envpack import foreign
from envpack.cache import Cache
from envpack.core_metadata import core_metadata
from envpack.distributions import distributions_in
from envpack.editable_hooks import read_pth, source_of
from envpack.errors import EnvpackError, ProjectFault, SourceFault
from envpack.lock import find_lock, read_pylock, read_toml
from envpack.python_archive import read_archive
from envpack.settings import configure
from envpack.uv_config import read_config
from envpack.wheelhouse import read_record, schema_of
from tests.trees import FakeEnvironment, make_environment, write

SITE = "lib/python3.12/site-packages"
SOURCE = Path(__file__).parents[1] / "src" / "envpack"

READERS: list[Callable[[str], Any]] = [
    foreign.read_bytes,
    foreign.read_text,
    foreign.read_json,
    foreign.read_toml,
    foreign.sha256_of,
]


@pytest.fixture(params=["fifo", "socket", "device", "loop"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the path of something that is no file, and that would keep a reader waiting."""
    path = tmp_path / "x"
    if request.param == "fifo":
        os.mkfifo(path)
    elif request.param == "socket":
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("x")
    else:
        path.symlink_to("/dev/zero" if request.param == "device" else "x")
    return str(path)


@pytest.mark.parametrize("read", READERS)
def test_no_file_is_a_sentence(no_file: str, read: Callable[[str], Any]) -> None:
    """Pipes, sockets, devices and loops are told of by name; nobody waits for them."""
    with pytest.raises(SourceFault, match=f"`{no_file}`"):
        read(no_file)
    assert foreign.head_of(no_file, 10) == b""


@pytest.mark.parametrize("read", READERS)
def test_what_is_not_there(tmp_path: Path, read: Callable[[str], Any]) -> None:
    """None for a missing file, for one below a file, and for a folder; a NUL is a sentence."""
    write(tmp_path / "a", "a")
    for name in ("missing", "a/b", "."):
        assert read(str(tmp_path / name)) is None
    with pytest.raises(SourceFault, match="its name is none of a file"):
        read(str(tmp_path / "a\0b"))


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    """The size of what metadata is bounds what is read, also of a file that grows."""
    with open(tmp_path / "x", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SourceFault, match="is larger than 16 MiB"):
        foreign.read_text(str(tmp_path / "x"))


BAD_JSON = [
    "[" * 200_000, '{"a":' * 200_000, "[" * 65 + "]" * 65, "9" * 5000, '{"a": 9' + "9" * 5000 + "}",
    "", "{", "nope", '"\ud800"',
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_JSON, ids=range(len(BAD_JSON)))
def test_bad_json(tmp_path: Path, text: str) -> None:
    """Deep, long, cut, or no UTF-8: one sentence, without a second line."""
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ProjectFault, match="is no JSON: ") as caught:
        foreign.read_json(str(path), ProjectFault)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "9" * 5000, "a = \xff", "="])
def test_bad_toml(tmp_path: Path, text: str) -> None:
    """The same."""
    path = tmp_path / "x.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceFault, match="is no TOML: "):
        foreign.read_toml(str(path))


def test_bad_csv() -> None:
    """A field that does not end is a sentence too."""
    with pytest.raises(SourceFault, match="`RECORD` is no csv: "):
        list(foreign.parsed_csv('"' + "a" * 200_000, "RECORD"))


@given(st.binary(max_size=60))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """A value, or the fault that was asked for, whatever the bytes are."""
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    for read in (foreign.read_json, foreign.read_toml, foreign.read_text):
        try:
            read(str(path), ProjectFault)
        except ProjectFault:
            continue


def test_tables() -> None:
    """What is no table where one should be is an empty one."""
    assert foreign.table_in({"tool": {"uv": {"a": 1}}}, "tool", "uv") == {"a": 1}
    others: list[object] = [None, 1, {"tool": 1}, {"tool": {"uv": []}}]
    for value in others:
        assert foreign.table_in(value, "tool", "uv") == {}


PARSERS = frozenset({("json", "load"), ("json", "loads"), ("csv", "reader"), ("tomllib", "load"),
    ("tomllib", "loads")})  # fmt: skip
OWN = frozenset({"foreign", "compile_worker", "bytecode", "build_requires", "bundle_tree", "cache"})
"""These parse what envpack itself wrote, to a pipe or with a checksum."""


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda path: path.stem)
def test_there_is_one_door(path: Path) -> None:
    """No other module has a parser read what others wrote."""
    if path.stem in OWN:
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in PARSERS, node.lineno


# ---- where such files are read -------------------------------------------------------------------

METADATA = [
    ("direct_url.json", '{"url": "x", "dir_info": "e"}'),
    ("direct_url.json", '{"url": "x", "dir_info": 5}'),
    ("direct_url.json", '{"url": "x", "dir_info": {"editable": [1]}}'),
    ("direct_url.json", '{"url": "file://[bad/x", "dir_info": {"editable": true}}'),
    ("direct_url.json", '{"url": "file:///\\ud800", "dir_info": {"editable": true}}'),
    ("direct_url.json", '{"url": "file:///\\u0000x", "dir_info": {"editable": true}}'),
    ("direct_url.json", '{"url": "https://u:p@h\\ud800/", "archive_info": {}}'),
    ("direct_url.json", "[" * 100_000),
    ("direct_url.json", "9" * 5000),
    ("provenance_url.json", "[" * 100_000),
    ("provenance_url.json", '{"url": ["https://u:p@h"]}'),
    ("RECORD", '"' + "a" * 200_000),
    ("RECORD", "a\0b,,\n"),
    ("../more.pth", "a\0b\n"),
    ("../more.pth", "/\n"),
    ("../more.pth", "//\n"),
    ("../../../../pyvenv.cfg", "home = /x\0y\n"),
]


def refusal(fake: FakeEnvironment) -> str:
    """Return why an environment is not packed, "" if it is."""
    try:
        envpack.pack(fake.root, no_python=True, dry_run=True, editable="copy")
    except EnvpackError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("name", "text"), METADATA, ids=range(len(METADATA)))
def test_metadata_of_strangers(tmp_path: Path, name: str, text: str) -> None:
    """A pack goes through or is refused in a sentence."""
    fake = make_environment(tmp_path)
    info = fake.install("x", "1", {"x.py": ""}, direct_url={"url": "https://h/"})
    write(Path(os.path.normpath(info / name)), text)
    assert "\n" not in refusal(fake)


@pytest.mark.parametrize(
    "name",
    ["direct_url.json", "provenance_url.json", "RECORD", "../more.pth", "../../../../pyvenv.cfg"],
)
def test_a_pipe_in_an_environment(tmp_path: Path, name: str) -> None:
    """It is named, and nobody waits for its other end."""
    fake = make_environment(tmp_path)
    info = fake.install("x", "1", {"x.py": ""}, direct_url={"url": "https://h/"})
    path = Path(os.path.normpath(info / name))
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    told = "" if name in {"RECORD", "../more.pth"} else "is no regular file"
    assert told in refusal(fake)


def test_the_root_on_the_path(tmp_path: Path) -> None:
    """A `.pth` with `/` is refused by name; the disk is not walked."""
    fake = make_environment(tmp_path)
    fake.add(f"{SITE}/more.pth", "/\n")
    with pytest.raises(EnvpackError, match=r"`more.pth` puts `/` on the path"):
        envpack.pack(fake.root, no_python=True, dry_run=True)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[]", '{"schema": "envpack.folder/1"}',
    '{"schema": "envpack.folder/1", "files": [{"path": 5}]}', '{"schema": 1, "files": []}',
    '{"schema": "envpack.folder/1", "files": [{"path": "a", "name": "b", "version": "1",'
    ' "sha256": 5, "size": 1}]}'], ids=range(7))  # fmt: skip
def test_records_of_folders(tmp_path: Path, text: str) -> None:
    """An envpack.json that is none of ours is refused by name."""
    write(tmp_path / "envpack.json", text)
    with pytest.raises(ProjectFault, match=r"envpack\.json"):
        read_record(str(tmp_path))
    schema_of(str(tmp_path))


LOCKS = ["a = " + "[" * 20_000, "packages = " + "9" * 5000, "packages = 5", 'lock-version = "1.0"',
    'lock-version = "1.0"\ncreated-by = "x"\npackages = [5]\n']  # fmt: skip


@pytest.mark.parametrize("text", LOCKS, ids=range(len(LOCKS)))
def test_locks_of_strangers(tmp_path: Path, text: str) -> None:
    """A pylock.toml that is none is refused by name."""
    write(tmp_path / "pylock.toml", text)
    with pytest.raises(ProjectFault, match=r"pylock\.toml"):
        read_pylock(str(tmp_path / "pylock.toml"))


@pytest.mark.parametrize("text", ["tool = 1", "tool.uv = 1", "project = 5", "project.name = 5"])
def test_projects_of_strangers(tmp_path: Path, text: str) -> None:
    """A table that is none counts as empty."""
    write(tmp_path / "pyproject.toml", text)
    write(tmp_path / "uv.lock", "version = 1\n")
    assert find_lock(str(tmp_path)).name is None
    read_config(str(tmp_path), {"HOME": str(tmp_path)})
    configure(str(tmp_path), str(tmp_path / "wheels"), str(tmp_path / "pyproject.toml"))


def test_a_lock_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Not another file, and not the printing of the result."""
    write(tmp_path / "pyproject.toml", '[project]\nname = "a"\n')
    (tmp_path / "uv.lock").symlink_to("uv.lock")
    with pytest.raises(ProjectFault, match=r"uv\.lock"):
        find_lock(str(tmp_path))
    (tmp_path / "uv.lock").unlink()
    os.mkfifo(tmp_path / "uv.lock")
    with pytest.raises(ProjectFault, match=r"uv\.lock"):
        read_toml(str(tmp_path / "uv.lock"))


def test_a_pipe_in_the_cache_is_a_miss(tmp_path: Path) -> None:
    """As is anything else that is no entry."""
    cache = Cache(str(tmp_path))
    cache.remember("0" * 64, {"a": 1})
    (known,) = (path for path in tmp_path.rglob("0" * 64) if path.is_file())
    known.unlink()
    os.mkfifo(known)
    assert cache.recall("0" * 64) is None
    runs = known.parents[1] / "runs" / "n"
    runs.mkdir(parents=True)
    os.mkfifo(runs / "k")
    assert cache.run("n", "k") is None


def test_sources_of_strangers(tmp_path: Path) -> None:
    """A URL that names no folder names none."""
    fake = make_environment(tmp_path)
    fake.install("x", "1", {"x.py": ""})
    (dist,) = distributions_in(str(fake.root), SITE)
    for url in ("file://[x", "file:///\ud800", "file:///a%00b", 5, "https://h"):
        assert source_of(dist._replace(direct_url={"url": url})) is None
    write(fake.site / "x.pth", b"\xff\n")
    assert read_pth(str(fake.site / "x.pth")).paths


def test_bombs(tmp_path: Path) -> None:
    """Two megabytes that say they are two gigabytes are not unpacked into memory."""
    import tarfile
    import zipfile

    size = foreign.MOST + 1
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x-1.dist-info/METADATA", bytes(size))
    with pytest.raises(ProjectFault, match=r"its `\S+METADATA` has more than 16,777,216 bytes"):
        core_metadata(str(wheel))
    python = tmp_path / "cpython.tar"
    with open(tmp_path / "zeros", "wb") as file:
        file.truncate(size)
    with tarfile.open(python, "w") as tar:
        tar.add(tmp_path / "zeros", "python/include/python3.12/patchlevel.h")
    with pytest.raises(ProjectFault, match=r"its `\S+patchlevel\.h` has more than 1,048,576 bytes"):
        read_archive(str(python))


def test_json_of_ours_is_read(tmp_path: Path) -> None:
    """What is right comes out as it is."""
    write(tmp_path / "x.json", json.dumps({"a": [1, {"b": None}]}))
    assert foreign.read_json(str(tmp_path / "x.json")) == {"a": [1, {"b": None}]}
