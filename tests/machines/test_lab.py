"""The lab itself: each machine is what it claims to be, and lacks what it must lack."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .lab.apt import deb822_entries, mirror, one_line_entries
from .lab.cache import build_once
from .lab.interpreters import Managed
from .lab.missing import MissingMachine, require
from .lab.projects import Project, make
from .lab.roots import KINDS, ONLY_IN
from .lab.sandbox import Sandbox
from .lab.session import Lab
from .lab.shop import ANSWER

PACK = "/opt/my env é"
PYTHON = f"{PACK}/bin/python3"
HEAVY = "import ssl, sqlite3, ctypes, sys; print(sys.prefix)"

SPAM = """\
#include <Python.h>
static struct PyModuleDef spam = {PyModuleDef_HEAD_INIT, "spam", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_spam(void) { return PyModule_Create(&spam); }
"""


def every_root() -> list[tuple[str, str]]:
    """Return each suite and kind that there is a recipe for."""
    anywhere = [kind for kind in KINDS if kind not in ONLY_IN]
    suites = ("bullseye", "bookworm", "trixie", "sid")
    return [
        *((suite, kind) for suite in suites for kind in anywhere),
        *((suite, kind) for kind, suite in ONLY_IN.items() if kind != "python"),
    ]


@pytest.mark.parametrize(("suite", "kind"), every_root())
def test_root_has_a_shell_and_no_python(lab: Lab, suite: str, kind: str) -> None:
    """Each root starts a shell, and its programs and libraries hold nothing named Python."""
    sandbox = lab.sandbox(suite, kind)
    answer = sandbox.run(["sh", "-c", "echo works; command -v python3 python || echo none"])
    assert (answer.returncode, answer.stdout) == (0, "works\nnone\n")
    programs = sandbox.root.path / "usr"
    found = [
        path for where in ("bin", "sbin", "lib") for path in (programs / where).rglob("*ython*")
    ]
    assert found == []


def test_root_without_coreutils(lab: Lab) -> None:
    """The `bare` root has dash and usual tools, but neither `realpath` nor `readlink`."""
    ask = ["sh", "-c", "realpath /; readlink /bin; dirname /a/b; ls /usr/bin/sh"]
    bare = lab.sandbox(kind="bare").run(ask)
    assert bare.stdout == "/a\n/usr/bin/sh\n"
    assert bare.stderr == "sh: 1: realpath: not found\nsh: 1: readlink: not found\n"
    assert lab.sandbox().run(ask).stdout == "/\nusr/bin\n/a\n/usr/bin/sh\n"


@pytest.mark.parametrize("shell", ["bash", "dash", "fish", "tcsh", "zsh"])
def test_shells(lab: Lab, shell: str) -> None:
    """The `shells` root has each shell that an activate script is written for."""
    answer = lab.sandbox(kind="shells").run([shell, "-c", "echo works"], home="/root")
    assert (answer.returncode, answer.stdout) == (0, "works\n"), answer.stderr


def test_sandbox_shows_nothing_of_this_machine(lab: Lab) -> None:
    """No network but loopback, no variables but those given, another host name."""
    sandbox = lab.sandbox()
    links = sandbox.run(["ls", "/sys/class/net", "/proc/self/fd"])
    assert "eth" not in links.stdout
    assert sandbox.run(["env"], env={"A": "b é"}).stdout.splitlines() == [
        "PATH=/usr/bin:/bin",
        "A=b é",
        "PWD=/",
    ]
    assert sandbox.run(["hostname"]).stdout == "elsewhere\n"
    interfaces = sandbox.run(["cat", "/proc/net/dev"]).stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert sandbox.run(["ps"]).stdout.count("\n") <= 3


def test_sandbox_is_read_only_where_not_asked(lab: Lab, tmp_path: Path) -> None:
    """Root, system and binds are read-only; `/tmp` and `writable` folders are not."""
    tmp_path.chmod(0o755)
    (tmp_path / "out").mkdir()
    script = f'for d in / /opt /usr /etc "{PACK}" /out /tmp; do touch "$d/x" && echo "$d"; done'
    answer = lab.sandbox().run(
        ["sh", "-c", script], binds={PACK: tmp_path}, writable={"/out": tmp_path / "out"}
    )
    assert answer.stdout == "/out\n/tmp\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_user_does_not_own_the_pack(lab: Lab, tmp_path: Path) -> None:
    """User 1000 sees root's files as root's, cannot write them, and has no capability."""
    (tmp_path / "out").mkdir()
    script = 'id -u; stat -c %u "$1"; touch "$1/x" || echo refused; grep CapEff /proc/self/status'
    answer = lab.sandbox().run(
        ["sh", "-c", script, "-", "/out"], writable={"/out": tmp_path / "out"}, uid=1000
    )
    assert answer.stdout.split() == ["1000", "0", "refused", "CapEff:", "0" * 16]


def test_real_build_runs_in_every_suite(lab: Lab, std: Sandbox) -> None:
    """python-build-standalone 3.9.13 runs raw from a path with a blank and an é."""
    answer = std.run([PYTHON, "-B", "-c", HEAVY], binds={PACK: lab.standalone("3.9").tree})
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, PACK + "\n", "")


def test_real_build_runs_as_another_user(lab: Lab) -> None:
    """It runs as user 1000 from a read-only folder of root, without HOME."""
    tree = lab.standalone("3.9").tree
    answer = lab.sandbox().run([PYTHON, "-c", HEAVY], binds={PACK: tree}, uid=1000)
    assert (answer.returncode, answer.stdout) == (0, PACK + "\n"), answer.stderr


def test_machine_without_devices(lab: Lab) -> None:
    """Without `/dev` the shaped 3.12 runs; the real 3.9 wants `/dev/urandom`."""
    argv = [PYTHON, "-B", "-c", HEAVY]
    new = lab.sandbox().run(argv, binds={PACK: lab.standalone("3.12").tree}, dev=False)
    assert (new.returncode, new.stdout) == (0, PACK + "\n"), new.stderr
    old = lab.sandbox().run(argv, binds={PACK: lab.standalone("3.9").tree}, dev=False)
    assert "failed to get random numbers" in old.stderr


def test_real_build_scripts_are_relative(lab: Lab) -> None:
    """The exec bits and links that npm dropped are back: pydoc3 starts its own Python."""
    tree = lab.standalone("3.9").tree
    assert (tree / "lib/libpython3.9.so").is_symlink()
    answer = lab.sandbox().run(["/opt/py/bin/pydoc3", "abs"], binds={"/opt/py": tree})
    assert "absolute value" in answer.stdout, answer.stderr


def test_real_build_needs_libcrypt(lab: Lab) -> None:
    """In a root of libc alone the real 3.9.13 misses libcrypt.so.1."""
    answer = lab.sandbox(kind="min").run(
        [PYTHON, "-c", "1"], binds={PACK: lab.standalone("3.9").tree}
    )
    assert answer.returncode == 127
    assert "libcrypt.so.1: cannot open shared object file" in answer.stderr


@pytest.mark.parametrize("minor", ["3.12", "3.13"])
@pytest.mark.parametrize("kind", ["std", "min"])
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
def test_shaped_build_runs(lab: Lab, suite: str, kind: str, minor: str) -> None:
    """A shaped tree carries its libraries, tcl and terminfo: it runs with libc alone."""
    tree = lab.standalone(minor).tree
    more = "; import readline, lzma, bz2, uuid, curses, tkinter; tkinter.Tcl()"
    answer = lab.sandbox(suite, kind).run([PYTHON, "-B", "-c", HEAVY + more], binds={PACK: tree})
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, PACK + "\n", "")


@pytest.mark.parametrize("minor", ["3.12", "3.13"])
def test_shaped_build_names_no_folder_of_this_machine(lab: Lab, minor: str) -> None:
    """No text and no library of a shaped tree names the build it was copied from."""
    own = os.fsencode(lab.pyenv(minor).prefix)
    tree = lab.standalone(minor).tree
    texts = [p for p in tree.rglob("*") if p.is_file() and p.suffix in {"", ".py", ".pc", ".so"}]
    assert len(texts) > 500
    assert [str(path) for path in texts if own in path.read_bytes()] == []
    version = lab.standalone(minor).version
    ask = "import platform, sys; print(platform.python_version()); print(sys.version)"
    told = lab.sandbox().run([PYTHON, "-B", "-c", ask], binds={PACK: tree}).stdout.splitlines()
    assert told[0] == version
    assert told[1].startswith(version)


@pytest.mark.parametrize("minor", ["3.12", "3.13"])
def test_shaped_build_is_too_new_for_bullseye(lab: Lab, minor: str) -> None:
    """The glibc 2.31 answers that a newer version is not found."""
    answer = lab.sandbox("bullseye").run(
        [PYTHON, "-c", "1"], binds={PACK: lab.standalone(minor).tree}
    )
    assert answer.returncode == 1
    assert "version `GLIBC_2.34' not found" in answer.stderr


@pytest.mark.parametrize("minor", ["3.9", "3.12"])
def test_musl_finds_no_loader(lab: Lab, minor: str) -> None:
    """With another C library the shell answers "not found" for a file that is there."""
    answer = lab.sandbox(kind="musl").run(
        ["sh", "-c", f'test -f "{PYTHON}" && "{PYTHON}"'],
        binds={PACK: lab.standalone(minor).tree},
    )
    assert answer.returncode == 127
    assert answer.stderr == f"sh: {PYTHON}: not found\n"


@pytest.mark.parametrize("minor", ["3.12", "3.13"])
def test_own_build_runs_where_its_libraries_are(lab: Lab, minor: str) -> None:
    """An own build at its own path runs in the `pyenv` root and misses libssl in `std`."""
    own = lab.pyenv(minor)
    argv = [str(own.executable), "-I", "-S", "-B", "-c", HEAVY]
    binds = {str(own.prefix): own.prefix}
    answer = lab.sandbox(kind="pyenv").run(argv, binds=binds)
    assert (answer.returncode, answer.stdout) == (0, f"{own.prefix}\n"), answer.stderr
    refused = lab.sandbox().run(argv, binds=binds)
    assert "libssl.so.3: cannot open shared object file" in refused.stderr


@pytest.mark.parametrize("minor", ["3.9", "3.12"])
def test_extension_builds_without_network(lab: Lab, tmp_path: Path, minor: str) -> None:
    """The `cc` root compiles an extension against a raw tree, which imports it."""
    (tmp_path / "spam.c").write_text(SPAM, encoding="utf-8")
    script = f'cc -shared -fPIC -I"{PACK}/include/python{minor}" spam.c -o spam.so && "$0" -c '
    answer = lab.sandbox(kind="cc").run(
        ["sh", "-c", script + '"import spam; print(spam.__file__)"', PYTHON],
        binds={PACK: lab.standalone(minor).tree},
        writable={"/src": tmp_path},
        cwd="/src",
    )
    assert (answer.returncode, answer.stdout) == (0, "/src/spam.so\n"), answer.stderr


def test_managed_layout(managed_python: Managed) -> None:
    """A uv-managed prefix has a minor link, BUILD, EXTERNALLY-MANAGED and a patched sysconfig."""
    minor, prefix = managed_python.minor, managed_python.prefix
    assert managed_python.link.is_symlink()
    assert managed_python.link.resolve() == prefix.resolve()
    assert (prefix / "BUILD").read_text(encoding="utf-8").isdigit()
    assert (prefix / f"lib/python{minor}/EXTERNALLY-MANAGED").is_file()
    ask = "import sysconfig as s; print(s.get_config_var('LIBDIR')); print(s.get_config_var('CC'))"
    told = subprocess.run(
        [managed_python.executable, "-I", "-B", "-c", ask],
        capture_output=True,
        text=True,
        check=True,
    )
    libdir, compiler = told.stdout.splitlines()
    assert libdir == f"{prefix}/lib"
    assert not compiler.startswith("clang")


def check_project(project: Project) -> None:
    """Check that an environment imports and offers what it claims, and runs uv's Python."""
    ask = f"import {', '.join(project.imports)}; import sys; print(sys.base_prefix)"
    answer = subprocess.run(
        [project.executable, "-I", "-B", "-c", ask], capture_output=True, text=True, check=True
    )
    assert Path(answer.stdout.strip()).resolve() == project.python.prefix.resolve()
    for script in (*project.scripts, *project.gui_scripts):
        assert os.access(project.env / "bin" / script, os.X_OK), script


def test_project_a_is_editable(project_a: Project) -> None:
    """Four editables of three backends: a finder with a MAPPING, and `.pth` files."""
    check_project(project_a)
    shop = [project_a.env / "bin/shop"]
    assert subprocess.run(shop, capture_output=True, text=True, check=True).stdout == ANSWER
    site = project_a.site_packages
    finder = next(site.glob("__editable___shop_tools_*_finder.py"))
    assert str(project_a.root) in finder.read_text(encoding="utf-8")
    for name in ("_editable_impl_shop.pth", "shop_core.pth", "__editable__.shop_util-0.6.0.pth"):
        assert str(project_a.base) in (site / name).read_text(encoding="utf-8")


def test_project_b_is_linked_into_the_cache(project_b: Project) -> None:
    """The files of numpy are hard links into uv's cache: writing to them would spoil it."""
    check_project(project_b)
    assert (project_b.site_packages / "numpy/__init__.py").stat().st_nlink > 1


def test_project_c_has_no_project(project_c: Project) -> None:
    """An environment with rich and six, and no pyproject.toml beside it."""
    check_project(project_c)
    assert not (project_c.base / "pyproject.toml").exists()


def test_project_d_is_symbolic(project_d: Project) -> None:
    """With `--link-mode symlink` the files of site-packages lead into uv's cache."""
    check_project(project_d)
    assert (project_d.site_packages / "six.py").is_symlink()


def test_project_can_be_made_anywhere(lab: Lab, tmp_path: Path) -> None:
    """The caller names the place, blank and é included."""
    project = make("a", tmp_path / "zweite Stelle é", lab.managed("3.12"))
    check_project(project)
    assert project.root == tmp_path / "zweite Stelle é/shop"


def test_raw_environment_does_not_travel(lab: Lab, tmp_path: Path) -> None:
    """Negative control: a tarball of `.venv` itself fails on a machine without Python."""
    project = lab.project("c", "3.12")
    packed = shutil.make_archive(str(tmp_path / "env"), "tar", project.base, project.env.name)
    subprocess.run(["tar", "-x", "-f", packed, "-C", tmp_path], check=True)
    answer = lab.sandbox().run(
        ["sh", "-c", f'"{PACK}/bin/python" -c 1; "{PACK}/bin/pygmentize"'],
        binds={PACK: tmp_path / project.env.name},
    )
    assert answer.returncode == 127
    assert answer.stderr == (
        f"sh: {PACK}/bin/python: not found\n"
        f"{PACK}/bin/pygmentize: exec: line 2: {project.env}/bin/python: not found\n"
    )


def test_cache_is_never_needed(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root is made again in an empty cache, once; a failed build leaves nothing."""
    monkeypatch.setenv("ENVPACK_TEST_CACHE", str(tmp_path))
    assert lab.sandbox("trixie").root.path.parent == tmp_path
    runs: list[Path] = []
    assert build_once("x-1", runs.append) == build_once("x-1", runs.append)
    assert len(runs) == 1

    def fail(to: Path) -> None:
        (to / "half").touch()
        raise MissingMachine("no such thing")

    with pytest.raises(MissingMachine):
        build_once("y-1", fail)
    assert not (tmp_path / "y-1").exists()
    assert list(tmp_path.glob(".y-1*")) == []


def test_missing_machine_is_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing machine skips with its reason, and fails when machines are required."""
    monkeypatch.delenv("ENVPACK_REQUIRE_MACHINES", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    from .lab.tools import tool

    with pytest.raises(pytest.skip.Exception, match="missing machine: `bwrap` is not installed"):
        require(tool, "bwrap")
    monkeypatch.setenv("ENVPACK_REQUIRE_MACHINES", "1")
    with pytest.raises(pytest.fail.Exception, match="missing machine: `bwrap` is not installed"):
        require(tool, "bwrap")


def test_both_forms_of_apt_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror is read from one-line and deb822 sources; others are passed over."""
    monkeypatch.delenv("ENVPACK_TEST_DEBIAN_MIRROR", raising=False)
    line = "deb [arch=amd64 signed-by=/k.gpg] http://a.test/debian sid main contrib # x\n"
    (entry,) = one_line_entries("deb-src http://a.test/debian sid main\n" + line)
    assert (entry.uri, entry.suite, entry.keyring) == ("http://a.test/debian", "sid", "/k.gpg")
    stanza = (
        "# why\nTypes: deb deb-src\nURIs: http://b.test/debian\nSuites: trixie\n trixie-updates\n"
        "Components: main\nSigned-By: /b.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://c.test\n"
        "Suites: sid\nComponents: main\n"
    )
    assert [found.suite for found in deb822_entries(stanza)] == ["trixie", "trixie-updates"]
    with pytest.raises(MissingMachine, match="names no Debian mirror"):
        mirror(tmp_path)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://d.test/other sid main\n", encoding="utf-8")
    (tmp_path / "sources.list.d/debian.sources").write_text(stanza, encoding="utf-8")
    assert mirror(tmp_path).uri == "http://b.test/debian"
    assert mirror(tmp_path).keyring == "/b.gpg"
