"""uv is found, run with a clean environment, and its failures become one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest

from envpack.errors import ToolFault
from envpack.redact import masked
from envpack.target import target_of
from envpack.uv import Uv, UvFault, child_environment, last_words


def missing(reason: str) -> NoReturn:
    """Skip, loudly; fail where the machines are promised to be complete."""
    if os.environ.get("ENVPACK_REQUIRE_MACHINES") == "1":
        pytest.fail(reason)
    pytest.skip(f"NOT TESTED: {reason}")


def real_uv() -> Uv:
    """Find uv, or skip."""
    try:
        return Uv.find()
    except ToolFault as fault:
        missing(str(fault))


def fake(folder: Path, script: str) -> str:
    """Write an executable shell script named `uv`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "uv"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_uv_is_looked_for_in_three_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$UV` wins over the PATH, a wrong `$UV` counts for nothing, the package comes last."""
    told = fake(tmp_path / "told", "")
    on_path = fake(tmp_path / "path", "")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("UV", told)
    assert Uv.find() == Uv(told)
    monkeypatch.setenv("UV", "/nowhere/uv")
    assert Uv.find() == Uv(on_path)
    monkeypatch.setenv("PATH", "/nowhere")
    package = tmp_path / "package"
    package.mkdir()
    (package / "uv.py").write_text(f"def find_uv_bin():\n    return {told!r}\n")
    monkeypatch.syspath_prepend(package)
    monkeypatch.delitem(sys.modules, "uv", raising=False)
    assert Uv.find() == Uv(told)
    monkeypatch.delitem(sys.modules, "uv", raising=False)


def test_no_uv_is_a_fault_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no uv is told how to get it."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setitem(sys.modules, "uv", None)
    with pytest.raises(ToolFault, match="not found") as caught:
        Uv.find()
    assert "pip install uv" in str(caught.value.hint)


def test_what_ties_uv_to_another_project_is_dropped() -> None:
    """Indexes, network, cache and the backend's own variables stay; selections do not."""
    dropped = {
        "VIRTUAL_ENV": "/x",
        "UV_PROJECT_ENVIRONMENT": "/x",
        "UV_PYTHON": "3.8",
        "UV_FROZEN": "1",
        "UV_COMPILE_BYTECODE": "1",
        "UV_REQUIRE_HASHES": "1",
        "PYTHONPATH": "/x",
        "PYTHONHOME": "/x",
    }
    kept = {
        "UV_CACHE_DIR": "/c",
        "UV_DEFAULT_INDEX": "i",
        "UV_INDEX_CORP_PASSWORD": "p",
        "UV_OFFLINE": "1",
        "UV_EXCLUDE_NEWER": "2026-01-01",
        "UV_BUILD_CONSTRAINT": "b",
        "HTTPS_PROXY": "h",
        "SSL_CERT_FILE": "s",
        "PATH": "/bin",
        "HOME": "/h",
    }
    got = child_environment({**dropped, **kept}, {"PBR_VERSION": "1"})
    assert not dropped.keys() & got.keys()
    assert kept.items() <= got.items()
    assert got["PYTHONDONTWRITEBYTECODE"] == "1"
    assert got["PBR_VERSION"] == "1"
    assert got["SOURCE_DATE_EPOCH"] == "315532800"
    assert child_environment({"SOURCE_DATE_EPOCH": "7"}, {})["SOURCE_DATE_EPOCH"] == "7"


BACKEND = """\
Building wheel...
Traceback (most recent call last):
  File "<string>", line 11, in <module>
ModuleNotFoundError: No module named 'zippy'
error: Failed to build `/tmp/shop`
  cause: The build backend returned an error
  cause: Call to `hatchling.build.build_wheel` failed (exit status: 1)

hint: This error likely indicates that `a@1.0` depends on `zippy`

[tool.uv.extra-build-dependencies]
"""
SHIM = """\
error: Failed to inspect Python interpreter from search path at `/shims/python3.12`
  cause: Querying Python at `/shims/python3.12` failed with exit status exit status: 127

         [stderr]
         pyenv: python3.12: command not found

         Note: See 'pyenv help global' for tips on allowing multiple
               Python versions to be found at the same time.
"""
RESOLUTION = """\
Building wheel...
error: Failed to build `/tmp/shop`
  cause: Failed to resolve requirements from `build-system.requires`
  cause: Because there is no version of numpy==9.9, your requirements are unsatisfiable.
"""
WRAPPED = """\
Building wheel...
error: Failed to build `/tmp/shop`
  cause: No solution found when resolving: `hatchling`
  cause: Because hatchling was not found in the cache and you require hatchling,
         we can conclude that your requirements are unsatisfiable.

hint: Packages were unavailable because the network was disabled.
"""
OLDER = """\
Building wheel...
  \u00d7 Failed to build `/tmp/shop`
  ├─▶ The build backend returned an error
  ╰─▶ Call to `hatchling.build.build_wheel` failed (exit status: 1)

      [stderr]
      ModuleNotFoundError: No module named 'zippy'

      hint: This error likely indicates nothing
"""


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (BACKEND, "ModuleNotFoundError: No module named 'zippy'"),
        (SHIM, "Querying Python at `/shims/python3.12` failed with exit status exit status: 127"),
        (
            RESOLUTION,
            "Because there is no version of numpy==9.9, your requirements are unsatisfiable",
        ),
        (
            WRAPPED,
            "Because hatchling was not found in the cache and you require hatchling, we can"
            " conclude that your requirements are unsatisfiable",
        ),
        (OLDER, "ModuleNotFoundError: No module named 'zippy'"),
        ("error: Call to `x` failed\n", "Call to `x` failed"),
        ("error: No such thing\n", "No such thing"),
        ("", "uv gave no reason"),
    ],
)
def test_the_reason_is_the_line_that_says_most(stderr: str, words: str) -> None:
    """The last cause, or the backend's own last line; hints and frames are not the reason."""
    assert last_words(stderr) == words


def test_credentials_are_masked() -> None:
    """No user or password of a URL is ever shown; other URLs are untouched."""
    text = "from https://me:secret@host.invalid/simple and https://host.invalid/a@b"
    assert masked(text) == "from https://***@host.invalid/simple and https://host.invalid/a@b"


def test_a_failure_is_one_sentence_and_keeps_the_rest(tmp_path: Path) -> None:
    """The fault says what was tried and why it failed; `stderr` holds all, masked."""
    uv = Uv(fake(tmp_path, "echo 'error: no https://a:b@host.invalid' >&2; exit 2"))
    with pytest.raises(UvFault) as caught:
        uv.venv(str(tmp_path / "venv"), python="python3")
    assert str(caught.value) == (
        "cannot create a temporary environment: no https://***@host.invalid"
    )
    assert caught.value.stderr == "error: no https://***@host.invalid\n"


def test_a_uv_that_does_not_start_is_a_fault(tmp_path: Path) -> None:
    """A file that is no program is reported by name."""
    path = tmp_path / "uv"
    path.write_text("")
    with pytest.raises(ToolFault, match="cannot run"):
        Uv(str(path)).version()


def test_a_build_that_leaves_no_wheel_is_a_fault(tmp_path: Path) -> None:
    """Success without a wheel is no success."""
    uv = Uv(fake(tmp_path, "exit 0"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UvFault, match="0 wheels"):
        uv.build_wheel("/src/shop", str(out), python="python3", offline=True, env={})


def test_an_interrupt_ends_uv_and_what_it_started(tmp_path: Path) -> None:
    """After Ctrl-C no build backend goes on in the background."""
    uv = Uv(fake(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; wait"))
    pid_file = tmp_path / "pid"

    def interrupt() -> None:
        while not (pid_file.exists() and pid_file.read_text().strip()):
            time.sleep(0.01)
        time.sleep(0.5)  # Python may still be on its way out of starting it
        os.kill(os.getpid(), signal.SIGINT)

    waiter = threading.Thread(target=interrupt)
    waiter.start()
    with pytest.raises(KeyboardInterrupt):
        uv.version()
    waiter.join()
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.01)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


def test_real_uv_tells_version_and_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The version is the bare number, the cache the one that the environment names."""
    uv = real_uv()
    assert uv.version().split(".")[0].isdigit()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    assert uv.cache_dir() == str(tmp_path / "cache")


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_the_static_uv_is_the_targets(tmp_path: Path, arch: str) -> None:
    """It comes from the musllinux wheel, is of the target's architecture and has no loader."""
    uv = real_uv()
    try:
        path = uv.static_uv(f"{arch}-unknown-linux-musl", str(tmp_path / "T"))
    except UvFault as fault:
        if "error sending request" in fault.stderr or "dns error" in fault.stderr:
            missing("PyPI is not reachable")
        raise
    found = target_of(path)
    assert found is not None
    assert (found.os, found.arch) == ("linux", arch)
    with open(path, "rb") as file:
        assert b"/ld-" not in file.read(4096)
    if found == target_of(os.path.realpath(sys.executable)):
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.split()[1] == uv.version()
