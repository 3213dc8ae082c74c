"""`envpack download` and `envpack sync` as a person and a program see them: whole outputs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from envpack.cli import run
from envpack.platforms import current
from tests.index_server import IndexServer
from tests.shop import MINOR, PLAIN

FULL = ".".join(str(part) for part in sys.version_info[:3])
HERE = str(current())


class Result(NamedTuple):
    """What one call of the command line gave back."""

    code: int
    out: str
    err: str


Call = Callable[..., Result]


@pytest.fixture
def call(
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    project: Path,
    server: IndexServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Call:
    """Run the command line in a locked project; what differs from run to run is replaced."""
    for name in ("UV_PROJECT_ENVIRONMENT", "FORCE_COLOR", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(project)
    words = {str(tmp_path): "<tmp>", server.url: "<index>", HERE: "<here>"}

    def call(*args: str) -> Result:
        code = run(list(args))
        texts = capfd.readouterr()
        out, err = texts.out, texts.err
        for word, name in words.items():
            out, err = out.replace(word, name), err.replace(word, name)
        return Result(code, out, err)

    return call


@pytest.mark.smoke
def test_download(call: Call) -> None:
    """One line says what came, and stdout has the folder."""
    result = call("download", "-o", "../D", "--platform", "linux")
    assert result.code == 0
    assert result.out == "<tmp>/D\n"
    first, *building, last = re.sub(r"\d+\.\d kB", "<size>", result.err).splitlines()
    assert first == "downloading 4 files, <size>"
    assert sorted(building) == [  # at the same time
        f"Building {name} for Python {MINOR}" for name in ("demo", "member", "pure")
    ]
    assert last == "Downloaded demo into <tmp>/D: 6 files, <size> (4 fetched, 3 built)"
    again = call("download", "-o", "../D", "--platform", "linux", "-v")
    assert again.err == (
        "downloading 3 files, 2.8 kB\n"
        "Downloaded demo into <tmp>/D: 6 files, 5.4 kB (6 were there)\n"
        "  wheels/demo-0.1-py3-none-any.whl\n"
        "  wheels/member-0.5-py3-none-any.whl\n"
        f"  wheels/native-2.0-cp{MINOR.replace('.', '')}-cp{MINOR.replace('.', '')}"
        "-manylinux_2_17_x86_64.whl\n"
        f"  wheels/{PLAIN}\n"
        "  wheels/pure-3.0-py3-none-any.whl\n"
        "  wheels/tool-6.0-py3-none-any.whl\n"
    )


def test_lacking_is_a_warning(call: Call) -> None:
    """What a platform will not find a wheel of is named, with what is kept in its place."""
    result = call("download", "-o", "../D", "--platform", "x86_64-apple-darwin")
    assert result.code == 0
    assert result.err.splitlines()[-1:] == [
        f"warning: `native` 2.0 for (x86_64-apple-darwin, Python {MINOR}): it has no wheel, and"
        " what is built here runs here alone; `sdists/native-2.0.tar.gz` is kept"
    ]


def test_json(call: Call) -> None:
    """The report is one document on stdout, and stderr is silent."""
    result = call("download", "-o", "../D", "--platform", "linux", "--json")
    report = json.loads(result.out)
    assert result.err == ""
    assert sorted(report) == [
        "built",
        "fetched",
        "files",
        "folder",
        "lacking",
        "project",
        "removed",
        "resolved",
        "schema",
        "size",
        "targets",
        "warnings",
    ]
    assert report["schema"] == "envpack.download/1"
    assert report["targets"] == [f"x86_64-manylinux_2_28, Python {MINOR}"]


def test_wrong_usage(call: Call) -> None:
    """Words that mean nothing, or nothing together, are exit code 2."""
    result = call("download", "-o", "../D", "--platform", "amiga")
    assert result.code == 2
    assert result.err == (
        "error: `amiga` is no platform that is known here\n"
        "hint: take `current`, `all`, `linux`, `macos`, `windows`, a platform of uv such as"
        " `aarch64-unknown-linux-gnu`, or a wheel's tag such as `win_amd64`\n"
    )
    result = call("download", "-o", "../D", "-r", "r.txt", "--all-extras")
    assert (result.code, result.err) == (
        2,
        "error: a requirements file has no extras, groups or members to choose\n",
    )
    result = call("download", "-o", "../D", "-r", "r.txt")
    assert (result.code, result.err) == (2, "error: no requirements file at `r.txt`\n")
    result = call("sync")
    assert (result.code, result.err) == (
        2,
        "error: DIR is missing, the folder that `envpack download` filled\n",
    )


def test_sync(call: Call, project: Path, server: IndexServer) -> None:
    """It says what was installed and what plain uv wants to know; stdout has the environment."""
    call("download", "-o", "../D")
    server.login = ("nobody", "knows")
    result = call("sync", "../D")
    assert result.code == 0
    assert result.out == "<tmp>/project/.venv\n"
    assert result.err == (
        "Synced <tmp>/project/.venv from <tmp>/D: 4 packages, and demo, member by uv,"
        f" Python {FULL}\n"
        "  plain uv stays offline with these lines in a uv.toml (--configure writes them)\n"
        "    offline = true\n"
        '    find-links = ["<tmp>/D/wheels"]\n'
    )
    result = call("sync", "../D", "--configure")
    assert result.err.splitlines()[1:] == ["  uv stays offline by <tmp>/project/uv.toml"]
    result = call("sync", "--unconfigure")
    assert (result.code, result.out, result.err) == (0, "", "Took back <tmp>/project/uv.toml\n")
    assert not (project / "uv.toml").exists()


def test_sync_refuses(call: Call, tmp_path: Path) -> None:
    """A file that is not what came is a finding, exit code 3; no folder at all is exit code 1."""
    call("download", "-o", "../D")
    (tmp_path / "D" / "wheels" / PLAIN).write_bytes(b"x")
    result = call("sync", "../D")
    assert result.code == 3
    assert result.err.startswith(
        f"error: `<tmp>/D/wheels/{PLAIN}` is not the file that was downloaded: its sha256 is "
    )
    shutil.rmtree(tmp_path / "D")
    result = call("sync", "../D")
    assert (result.code, result.err) == (
        1,
        "error: `../D` is no finished download\n"
        "hint: fill it with `envpack download -o`, on a machine with a network\n",
    )


def test_a_netrc_that_cannot_be_read(
    call: Call, server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a login was wanted that is the hint; where none was it is not even read."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine h.test nonsense\n")
    monkeypatch.setenv("NETRC", str(netrc))
    note = "`<tmp>/netrc` cannot be read: bad follower token 'nonsense'"
    result = call("download", "-o", "D", "--no-build", "--platform", "linux")
    assert result.code == 0
    server.login = ("user", "secret")
    refused = call("download", "-o", "E", "--no-build", "--platform", "linux")
    assert refused.code == 1
    hints = [line for line in refused.err.splitlines() if line.startswith("hint: ")]
    assert hints == [f"hint: {note}"], refused.err
    assert "netrc" not in result.err
