"""Another Python in place of an environment's own, and archives that have none."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from envpack.environment import discover
from envpack.errors import EnvironmentFault, ToolFault, UnsupportedBase
from envpack.packing import pack
from envpack.replacement_python import executable_of
from envpack.starter import PTH, PTH_LINE, pyvenv_cfg, starter
from envpack.uv import Uv
from tests.cli.test_pack import Call, call, fake
from tests.trees import FakeEnvironment, elf, make_prefix, write

__all__ = ["call", "fake"]  # fixtures

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
REAL = Path(sys.base_prefix) / "bin" / f"python{MINOR}"


def no_uv() -> Uv:
    """Fail: the word is a path, so uv is not to be asked."""
    raise AssertionError


# ---- which one -------------------------------------------------------------------------------


def test_words(tmp_path: Path) -> None:
    """An executable, a prefix, a link and a virtual environment's Python all lead to the base."""
    prefix = make_prefix(tmp_path / "base")
    real = str(prefix / "bin/python3.12")
    venv = tmp_path / "venv"
    write(venv / "pyvenv.cfg", f"home = {prefix}/bin\n")
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to(real)
    copied = write(tmp_path / "copied/bin/python", elf(), 0o755)
    write(tmp_path / "copied/pyvenv.cfg", f"home = {prefix}/bin\n")
    for word in (real, prefix, prefix / "bin/python3", venv, venv / "bin/python", copied):
        assert executable_of(str(word), no_uv) == real


def test_a_request() -> None:
    """What is no path is asked of uv."""
    found = executable_of(MINOR, Uv.find)
    assert os.path.basename(found).startswith("python")
    with pytest.raises(ToolFault, match=r"cannot find Python 3\.99: No interpreter found"):
        executable_of("3.99", Uv.find)


def test_no_python_there(tmp_path: Path) -> None:
    """What is no Python at all is refused by name."""
    write(tmp_path / "plain", elf(), 0o644)
    (tmp_path / "empty").mkdir()
    for word, message in (
        ("nothing/here", "there is no Python at"),
        ("plain", "may not be executed"),
        ("empty", "holds no `bin/python3`"),
    ):
        with pytest.raises(EnvironmentFault, match=message):
            executable_of(str(tmp_path / word), no_uv)


def test_replaced(fake: FakeEnvironment, tmp_path: Path) -> None:
    """The archive has the other one's files, and no path of either remains."""
    other = make_prefix(tmp_path / "company", "3.12.9")
    tool = f"#!{fake.prefix}/bin/python3.12\nimport tool\n"
    fake.install("tool", "1", {"tool.py": "", "../../../bin/tool": tool})
    report = pack(fake.root, tmp_path / "out", format="dir", python=other, strict=True)
    assert report.interpreter.version == "3.12.9"
    assert report.interpreter.replaces == "3.12.1"
    manifest = json.loads((tmp_path / "out/share/envpack/manifest.json").read_text())
    assert manifest["interpreter"] == {
        "implementation": "CPython",
        "version": "3.12.9",
        "build": "20240107",
        "managed": False,
        "replaces": "3.12.1",
    }
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert str(fake.prefix).encode() not in path.read_bytes(), path
            assert str(other).encode() not in path.read_bytes(), path


def test_rescued(fake: FakeEnvironment, tmp_path: Path) -> None:
    """An environment whose own Python is gone can be packed with another."""
    other = make_prefix(tmp_path / "company", "3.12.9")
    shutil.rmtree(fake.prefix)
    with pytest.raises(EnvironmentFault, match="is gone"):
        pack(fake.root, tmp_path / "out.tar")
    assert pack(fake.root, tmp_path / "out.tar", python=other).interpreter.version == "3.12.9"


def test_the_same(fake: FakeEnvironment, tmp_path: Path) -> None:
    """The Python it was made on replaces nothing, and the bytes are the same."""
    pack(fake.root, tmp_path / "one.tar")
    report = pack(fake.root, tmp_path / "two.tar", python=fake.prefix)
    assert report.interpreter.replaces is None
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_refused(fake: FakeEnvironment, tmp_path: Path) -> None:
    """Another minor version, platform or kind is none that the environment's modules fit."""
    make_prefix(tmp_path / "newer", "3.13.0")
    with pytest.raises(EnvironmentFault, match=r"made for Python 3\.12, and .* is Python 3\.13\.0"):
        discover(str(fake.root), str(tmp_path / "newer/bin/python3.13"))
    arm = make_prefix(tmp_path / "arm") / "bin/python3.12"
    write(arm, elf(machine=183), 0o755)
    with pytest.raises(EnvironmentFault, match="is a Python for linux-aarch64-gnu"):
        discover(str(fake.root), str(arm))
    static = make_prefix(tmp_path / "static") / "bin/python3.12"
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 120, 120, 1)
    head = bytearray(elf(interp=b""))
    head[64:120] = load
    write(static, bytes(head), 0o755)
    with pytest.raises(UnsupportedBase, match="is linked statically"):
        discover(str(fake.root), str(static))
    pypy = write(tmp_path / "pypy/bin/pypy3.12", elf(), 0o755)
    with pytest.raises(UnsupportedBase, match="is not CPython"):
        discover(str(fake.root), str(pypy))


# ---- none ------------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """What an archive without a Python comes down to, in a folder with a blank."""
    root = tmp_path / "my env é"
    for name in ("python", "python3", f"python{MINOR}"):
        write(root / "bin" / name, starter(MINOR, ""), 0o755)
    write(root / f"lib/python{MINOR}/site-packages" / PTH, PTH_LINE)
    write(root / f"lib/python{MINOR}/site-packages/inside.py", "")
    write(root / "pyvenv.cfg", pyvenv_cfg(""))
    return root


def run(
    bare: Path, *args: str, path: str | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run its Python with nothing but this PATH, the real Python's folder by default."""
    path = f"{REAL.parent}:/usr/bin:/bin" if path is None else path
    return subprocess.run(
        [bare / "bin/python", *args],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path, **env},
        cwd=bare,
    )


CHECK = """\
import json, os, site, subprocess, sys
child = subprocess.run([sys.executable, "-c", "import inside, sys; print(sys.prefix)"],
                       capture_output=True, text=True)
print(json.dumps({
    "prefix": sys.prefix, "executable": sys.executable, "home": os.environ.get("PYTHONHOME"),
    "site": [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))],
    "user": site.ENABLE_USER_SITE, "args": sys.argv[1:], "child": child.stdout.strip(),
}))
"""


@pytest.mark.parametrize("how", ["absolute", "link", "activated", "stray home"])
def test_it_is_the_environment(bare: Path, tmp_path: Path, how: str) -> None:
    """The Python of the machine believes to be the archive's: its prefix, its packages, no more."""
    env = {}
    path = f"{REAL.parent}:/usr/bin:/bin"
    started = bare
    if how == "link":
        (tmp_path / "elsewhere/bin").mkdir(parents=True)
        (tmp_path / "elsewhere/bin/python").symlink_to(bare / "bin/python")
        started = tmp_path / "elsewhere"
    if how == "activated":
        path = f"{bare}/bin:{path}"
    if how == "stray home":
        env = {"PYTHONHOME": "/nowhere"}
    done = run(started, "-c", CHECK, "a b", "é", "-I", path=path, **env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "prefix": str(bare),
        "executable": str(bare / "bin/python"),
        "home": None,
        "site": [str(bare / f"lib/python{MINOR}/site-packages")],
        "user": False,
        "args": ["a b", "é", "-I"],
        "child": str(bare),
    }


@pytest.mark.smoke
def test_spawned_processes(bare: Path) -> None:
    """multiprocessing starts its workers through the archive too."""
    script = write(
        bare / "spawn.py",
        "import multiprocessing as m, sys\n"
        "def prefix(_): import inside; return sys.prefix\n"
        "if __name__ == '__main__':\n"
        "    with m.get_context('spawn').Pool(2) as pool: print(pool.map(prefix, [1]))\n",
    )
    done = run(bare, str(script))
    assert (done.stdout, done.returncode) == (f"{[str(bare)]}\n", 0), done.stderr


def test_isolated(bare: Path) -> None:
    """With -I too the archive is the prefix, where the Python lies where it was built for."""
    done = run(bare, "-I", "-c", "import inside, sys; print(sys.prefix)")
    assert done.stdout == f"{bare}\n", done.stderr


def test_the_one_named(bare: Path, tmp_path: Path) -> None:
    """The Python named first is taken before those on PATH, needs no PYTHONHOME, and may lack."""
    target = tmp_path / "target" / f"python{MINOR}"
    target.parent.mkdir()
    target.symlink_to(REAL)
    for name, text in (
        ("bin/python", starter(MINOR, str(target))),
        ("pyvenv.cfg", pyvenv_cfg(str(REAL))),
    ):
        (bare / name).write_bytes(text)
    done = run(bare, "-c", "import inside, sys; print(sys.prefix)", path="/nowhere:/usr/bin:/bin")
    assert done.stdout == f"{bare}\n", done.stderr
    target.unlink()
    done = run(bare, "-c", "import inside, sys; print(sys.prefix)")
    assert done.stdout == f"{bare}\n", done.stderr


def test_none_there(bare: Path, tmp_path: Path) -> None:
    """Without a Python of the version one sentence says so; one of another version is none."""
    fake = tmp_path / "fakes"
    write(fake / f"python{MINOR}", "#!/bin/sh\nexit 1\n", 0o755)
    write(fake / "python3", "#!/bin/sh\nexit 1\n", 0o755)
    done = run(bare, "-V", path=f"{fake}:{bare}/bin")
    name = f"{bare}/bin/python"
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == f"{name}: this environment needs CPython {MINOR}, which is not on PATH\n"
    (bare / "bin/python").write_bytes(starter(MINOR, "/opt/it's $HOME/python"))
    done = run(bare, "-V", path=f"{fake}:{bare}/bin")
    assert done.stderr == (
        f"{name}: this environment needs CPython {MINOR}, which is neither at"
        " /opt/it's $HOME/python nor on PATH\n"
    )


def test_what_is_packed(fake: FakeEnvironment, tmp_path: Path) -> None:
    """No file of the interpreter goes in; what starts one does, and RECORDs stay true."""
    tool = f"#!{fake.root}/bin/python\nimport tool\n"
    fake.install("tool", "1", {"tool.py": "", "../../../bin/tool": tool})
    out = tmp_path / "out"
    report = pack(fake.root, out, format="dir", no_python=True, strict=True)
    names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert [n for n in names if not n.startswith("lib/python3.12/site-packages/")] == [
        "bin/activate",
        "bin/activate.fish",
        "bin/python",
        "bin/python3",
        "bin/python3.12",
        "bin/tool",
        "pyvenv.cfg",
        "share/envpack/manifest.json",
    ]
    assert (out / "bin/tool").read_text().startswith("#!/bin/sh\n")
    assert (out / "bin/python").read_bytes() == starter("3.12", "")
    assert report.to_json()["interpreter"]["packed"] is False


# ---- the command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--target-python", "/usr/bin/python3"],
            "--target-python says where a Python is, so it needs --no-python",
        ),
        (
            ["--no-python", "--python", "3.12"],
            "--python puts another Python in, and --no-python none",
        ),
        (
            ["--no-python", "--bundle-libs", "all"],
            "--no-python takes the other machine's Python, and with it that machine's libraries, so"
            " no --bundle-libs all",
        ),
        (
            ["--no-python", "--target-python", "python3"],
            "`python3` is no absolute path for --target-python",
        ),
    ],
)
def test_wrong_usage(call: Call, fake: FakeEnvironment, words: list[str], message: str) -> None:
    """Words that contradict each other are exit code 2, and nothing is written."""
    before = sorted(fake.project.iterdir())
    result = call("pack", *words)
    assert (result.code, result.out, result.err) == (2, "", f"error: {message}\n")
    assert sorted(fake.project.iterdir()) == before


def test_words_of_the_report(call: Call, fake: FakeEnvironment, tmp_path: Path) -> None:
    """The report says which Python is inside, in place of which, or what the other side needs."""
    make_prefix(tmp_path / "company", "3.12.9")
    del fake
    cases = {
        ("--python", "../company"): "CPython 3.12.9 (from <tmp>/company, build 20240107), in place"
        " of 3.12.1",
        ("--no-python",): "none: the other machine must have CPython 3.12, on PATH",
        (
            "--no-python",
            "--target-python",
            "/opt/py/bin/python3",
        ): "none: the other machine must have CPython 3.12, at /opt/py/bin/python3, or on PATH",
    }
    for words, text in cases.items():
        result = call("pack", "--dry-run", *words)
        assert result.code == 0, result.err
        (line,) = re.findall(r"^  python    (.*)$", result.err, re.MULTILINE)
        assert line == text


def test_uses_packages_of_the_base(tmp_path: Path) -> None:
    """An environment that needs its base's packages cannot do without it."""
    from tests.trees import make_environment

    made = make_environment(tmp_path, system_site=True)
    with pytest.raises(EnvironmentFault, match="uses packages of its base interpreter"):
        pack(made.root, tmp_path / "out.tar", no_python=True)
    assert not (tmp_path / "out.tar").exists()
