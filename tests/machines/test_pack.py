"""The proof of a pack: machines without Python, without a network, without the build's folders."""

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .lab.interpreters import uv_environment
from .lab.missing import require
from .lab.projects import make
from .lab.sandbox import USER, Sandbox
from .lab.session import Lab
from .lab.shop import ANSWER
from .lab.tools import call, tool, uv_program
from .packs import Pack, Packs, envpack, found_in, pack_project, tree_digest, unpack

PLACE = "/opt/my env é"
PROBE = Path(__file__).with_name("probe.py")
HOME = "/home/user"

GLIBC = {"3.9": ("bullseye", "bookworm", "trixie", "sid"), "3.12": ("bookworm", "trixie", "sid")}
GLIBC["3.13"] = GLIBC["3.12"]
"""The suites whose glibc is new enough: the shaped 3.12 and 3.13 were built on glibc 2.36."""

BROKEN = frozenset({"blackd"})
"""Scripts that do not start in the source environment either: blackd wants the extra black[d]."""

KINDS = ("a", "b", "c", "d")


def on(minor: str, *values: str) -> Any:
    """Return parameters that keep one interpreter's tests on one worker."""
    return pytest.param(minor, *values, marks=pytest.mark.xdist_group(f"python-{minor}"))


EVERYWHERE = [
    on(minor, suite, kind) for minor, suites in GLIBC.items() for suite in suites for kind in KINDS
]
MINORS = [on(minor) for minor in GLIBC]
MINORS_AND_KINDS = [on(minor, kind) for minor in GLIBC for kind in KINDS]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a home whose user site would shadow the pack."""
    folder = tmp_path / "home"
    for minor in GLIBC:
        site = folder / f".local/lib/python{minor}/site-packages"
        site.mkdir(parents=True)
        (site / "sneaky.py").write_text("")
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, USER, USER)
    return folder


def probe(
    sandbox: Sandbox, pack: Pack, home: Path, *, place: str = PLACE, uid: int | None = None
) -> dict[str, Any]:
    """Run the probe on the pack, bound read-only at `place`."""
    asked = {"place": place, "imports": pack.project.imports, "outside": "/tmp"}
    done = sandbox.run(
        [f"{place}/bin/python", "/probe.py", json.dumps(asked)],
        binds={place: pack.unpacked, "/probe.py": PROBE},
        writable={HOME: home},
        env={"LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "error::SyntaxWarning"},
        home=HOME,
        uid=uid,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(found: dict[str, Any], pack: Pack, place: str) -> None:
    """Assert everything that a pack promises about the place it is at."""
    project = pack.project
    assert found["prefix"] == found["base_prefix"] == place
    assert found["executable"] == f"{place}/bin/python"
    for name, file in found["imports"].items():
        assert file == "built in" or file.startswith(place), f"{name}: {file}"
    assert (found["sqlite"], found["libc"], found["spawn"]) == (42, 7, [4, 9])
    assert all(path.startswith(place) for path in found["paths"].values())
    assert all(value.startswith(place) for value in found["config"].values() if value)
    assert found["config"]["prefix"] == place
    assert found["user_site"] == [False, False]
    lib = f"{place}/lib/python{project.python.minor}"
    assert [path for path in found["path"] if path.startswith(lib)][-1] == f"{lib}/site-packages"
    assert set(project.scripts) | set(project.gui_scripts) <= set(found["scripts"])
    for name in BROKEN & found["scripts"].keys():
        del found["scripts"][name]
    for name, ways in found["scripts"].items():
        for way, (code, out, err) in ways.items():
            # 0 and usage errors are answers; the shell's 126 and 127 and tracebacks are not
            assert code in (0, 1, 2), f"{name} {way}: {code} {err}"
            assert "Traceback" not in err, f"{name} {way}: {err}"
            assert out or err, f"{name} {way} says nothing"
    for name in project.scripts:
        for way, (code, _, err) in found["scripts"][name].items():
            assert code == 0, f"{name} {way}: {err}"
    assert found["records"]["wrong"] == []
    assert found["records"]["rows"] > 10


@pytest.mark.parametrize(("minor", "suite", "kind"), EVERYWHERE)
def test_runs_on_a_machine_without_python(
    lab: Lab, packs: Packs, home: Path, minor: str, suite: str, kind: str
) -> None:
    """Read-only, in a path with a blank and an é, as another user, with a hostile home."""
    pack = packs.of(kind, minor)
    check(probe(lab.sandbox(suite), pack, home, uid=USER), pack, PLACE)


@pytest.mark.parametrize("minor", MINORS)
def test_moves_a_second_time(lab: Lab, packs: Packs, home: Path, minor: str) -> None:
    """Nothing remembers the first place, or who was there: now as root, elsewhere."""
    pack = packs.of("a", minor)
    place = '/srv/it\'s "$HOME" & 2'
    check(probe(lab.sandbox(), pack, home, place=place), pack, place)


@pytest.mark.parametrize("minor", MINORS)
def test_compiled_packs_run_from_their_bytecode(
    lab: Lab, packs: Packs, home: Path, tmp_path: Path, minor: str
) -> None:
    """Made by the packed Python, the same for any -j, recorded, valid, and read there."""
    project = lab.project("a", minor)
    archives = [tmp_path / f"{jobs}.tar.gz" for jobs in (1, 2)]
    for jobs, archive in enumerate(archives, 1):
        report = pack_project(project, archive, "--compile", "-j", str(jobs))
        assert found_in(report) == []
    assert archives[0].read_bytes() == archives[1].read_bytes()
    pack = Pack(project, report, archives[0], unpack(archives[0], tmp_path / "unpacked"))
    check(probe(lab.sandbox(), pack, home, uid=USER), pack, PLACE)
    needles = [os.fsencode(path) for path in (project.base, project.python.install_dir)]
    assert [path for path in files(pack.unpacked) if named(path, needles)] == []
    done = lab.sandbox().run(
        [f"{PLACE}/bin/python", "-v", "-c", "import json, shop_core"], binds={PLACE: pack.unpacked}
    )
    read = [line for line in done.stderr.splitlines() if line.startswith("# code object from")]
    assert read
    assert all(line.rstrip("'").endswith(".pyc") for line in read), read


@pytest.mark.parametrize("minor", MINORS)
def test_unpacks_there_with_busybox(lab: Lab, packs: Packs, minor: str) -> None:
    """No unpack step but tar, and the one of a machine that has busybox alone."""
    pack = packs.of("a", minor)
    script = 'mkdir "/tmp/a b" && cd "/tmp/a b" && tar xzf /env.tar.gz && bin/shop x "y z"'
    done = lab.sandbox().run(["sh", "-c", script], binds={"/env.tar.gz": pack.archive})
    assert (done.returncode, done.stdout) == (0, ANSWER.rstrip("\n") + " x y z\n"), done.stderr


@pytest.mark.parametrize("minor", MINORS)
def test_scripts_need_no_readlink(lab: Lab, packs: Packs, minor: str) -> None:
    """Through links, on a machine that has dash, and neither realpath nor readlink."""
    pack = packs.of("a", minor)
    script = f"""
        ln -s "{PLACE}/bin/shop" /tmp/one; ln -s one /tmp/two; cd /tmp
        "{PLACE}/bin/shop" && ./two && PATH=/tmp:$PATH two && PYTHONHOME=/nowhere ./one
    """
    done = lab.sandbox(kind="bare").run(["sh", "-euc", script], binds={PLACE: pack.unpacked})
    assert (done.returncode, done.stdout, done.stderr) == (0, ANSWER * 4, "")


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh", "fish", "busybox"])
@pytest.mark.xdist_group("python-3.9")
def test_activates_in_every_shell(lab: Lab, packs: Packs, shell: str) -> None:
    """The prompt's python and the variables are the pack's; deactivate takes them back."""
    pack = packs.of("a", "3.9")
    name = "activate.fish" if shell == "fish" else "activate"
    dot = "source" if shell == "fish" else "."
    script = f"""
        {dot} "{PLACE}/bin/{name}"
        echo "$VIRTUAL_ENV|$VIRTUAL_ENV_PROMPT"; command -v python; shop
        deactivate; echo "$VIRTUAL_ENV|$PATH"; command -v python || echo none
    """
    words = {"busybox": ["busybox", "sh"]}.get(shell, [shell])
    done = lab.sandbox(kind="shells").run(
        [*words, "-c", script], binds={PLACE: pack.unpacked}, home="/root"
    )
    assert done.stdout.replace("/usr/bin /bin", "/usr/bin:/bin") == (
        f"{PLACE}|my env é\n{PLACE}/bin/python\n{ANSWER}|/usr/bin:/bin\nnone\n"
    ), done.stderr


EXTENSION = """\
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *args) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef spam = {PyModuleDef_HEAD_INIT, "spam", "", -1, methods};
PyMODINIT_FUNC PyInit_spam(void) { return PyModule_Create(&spam); }
"""
SETUP = """\
from setuptools import Extension, setup
setup(name="spam", version="1", ext_modules=[Extension("spam", ["spam.c"])])
"""


@pytest.fixture(scope="session")
def wheel(work: Path) -> Path:
    """Give a small wheel of the test's own."""
    path = work / "plain-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("plain.py", "ANSWER = 'plain'\n")
        archive.writestr(
            "plain-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: plain\nVersion: 1.0\n"
        )
        archive.writestr(
            "plain-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n",
        )
        archive.writestr("plain-1.0.dist-info/RECORD", "")
    return path


@pytest.mark.parametrize("minor", MINORS)
def test_a_virtual_environment_of_the_pack_works(
    lab: Lab, packs: Packs, wheel: Path, tmp_path: Path, minor: str
) -> None:
    """There pip installs a local wheel and builds a C extension, with the pack's headers."""
    pack = packs.of("a", minor)
    source = tmp_path / "source"
    source.mkdir()
    (source / "spam.c").write_text(EXTENSION)
    (source / "setup.py").write_text(SETUP)
    tools = tmp_path / "tools"
    env = uv_environment(pack.project.python.install_dir)
    python = str(pack.project.python.executable)
    target = ["--python", python, "--target", str(tools), "setuptools<75", "wheel"]
    call([uv_program(), "pip", "install", *target], env=env)
    script = f"""
        cp -r /source /tmp/source
        "{PLACE}/bin/python" -m venv "/tmp/my venv"
        cd "/tmp/my venv"
        bin/python -m pip install -q --no-index /{wheel.name}
        PYTHONPATH=/tools bin/python -m pip install -q --no-index --no-build-isolation /tmp/source
        bin/python -c 'import plain, spam; print(plain.ANSWER, spam.answer())'
    """
    done = lab.sandbox(kind="cc").run(
        ["sh", "-euc", script],
        binds={PLACE: pack.unpacked, f"/{wheel.name}": wheel, "/source": source, "/tools": tools},
        env={"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"},
        home="/root",
        timeout=300,
    )
    assert done.stdout == "plain 42\n", done.stderr


@pytest.mark.parametrize(("minor", "kind"), MINORS_AND_KINDS)
def test_no_file_names_the_build_machine(packs: Packs, minor: str, kind: str) -> None:
    """A byte search over everything unpacked, for the folders of project, interpreter, cache."""
    pack = packs.of(kind, minor)
    project = pack.project
    needles = [
        os.fsencode(path) for path in (project.base, project.python.install_dir, packs.lab.work)
    ]
    assert [path for path in files(pack.unpacked) if named(path, needles)] == []
    assert pack.report["leaks"] == []
    assert pack.report["outside"] == []


def files(root: Path) -> Iterator[Path]:
    """Yield every file below a folder."""
    for folder, _, names in os.walk(root):
        for name in names:
            yield Path(folder, name)


def named(path: Path, needles: list[bytes]) -> bool:
    """Say whether the bytes of a file, or what it links to, hold one of the needles."""
    assert not path.is_symlink()
    data = path.read_bytes()
    return any(needle in data for needle in needles)


@pytest.mark.parametrize("minor", MINORS)
def test_same_bytes_for_any_workers_and_any_place(
    lab: Lab, packs: Packs, tmp_path: Path, minor: str
) -> None:
    """-j 1, 2, 7, and the same project made anew in another folder."""
    pack = packs.of("a", minor)
    digests = set()
    for jobs in ("1", "2", "7"):
        out = tmp_path / f"{jobs}.tar.gz"
        pack_project(pack.project, out, "-j", jobs)
        digests.add(out.read_bytes())
    other = require(make, "a", lab.work / f"other place {minor}", lab.managed(minor))
    out = tmp_path / "other.tar.gz"
    pack_project(other, out)
    digests.add(out.read_bytes())
    digests.add(pack.archive.read_bytes())
    assert len(digests) == 1


@pytest.mark.parametrize("minor", MINORS)
def test_editables_are_built_and_stay_real(packs: Packs, minor: str) -> None:
    """Four backends, a workspace and a path dependency become wheels; no .pth of theirs is left."""
    pack = packs.of("a", minor)
    forms = {e["name"]: e["form"] for e in pack.report["editables"]}
    assert forms == dict.fromkeys(("shop", "shop-core", "shop-tools", "shop-util"), "built")
    site = pack.unpacked / f"lib/python{minor}/site-packages"
    assert [path.name for path in site.glob("*.pth")] == ["_envpack_host.pth"]


@pytest.mark.parametrize("minor", MINORS)
def test_editables_can_be_copied(
    lab: Lab, tmp_path: Path, packs: Packs, home: Path, minor: str
) -> None:
    """Without any build: the files as finder and .pth map them, and the same answers."""
    project = lab.project("a", minor)
    archive = tmp_path / "env.tar.gz"
    report = pack_project(project, archive, "--editable", "copy")
    assert {e["form"] for e in report["editables"]} == {"copied"}
    pack = Pack(project, report, archive, unpack(archive, tmp_path / "unpacked"))
    check(probe(lab.sandbox(), pack, home), pack, PLACE)
    done = lab.sandbox().run([f"{PLACE}/bin/shop"], binds={PLACE: pack.unpacked})
    assert done.stdout == ANSWER


@pytest.mark.parametrize("minor", MINORS)
def test_the_sources_stay_as_they_are(lab: Lab, tmp_path: Path, minor: str) -> None:
    """Environment, project and interpreter are bit-identical after a pack."""
    project = require(make, "a", lab.work / f"untouched-{minor}", lab.managed(minor))
    before = (tree_digest(project.base), tree_digest(project.python.prefix))
    pack_project(project, tmp_path / "env.tar.gz")
    pack_project(project, tmp_path / "env.zip", "--editable", "copy")
    assert tree_digest(project.base) == before[0]
    assert tree_digest(project.python.prefix) == before[1]


@pytest.mark.xdist_group("python-3.9")
def test_every_format_holds_the_same(packs: Packs, tmp_path: Path) -> None:
    """One content digest over all formats, and every tool that can read one agrees."""
    pack = packs.of("a", "3.9")
    digests = {pack.report["digest"]}
    for name in ("env.tar.zst", "env.tar", "env.zip", "folder"):
        options = ["--format", "dir"] if name == "folder" else []
        digests.add(pack_project(pack.project, tmp_path / name, *options)["digest"])
    assert len(digests) == 1
    listings = {
        "tar.gz": call([tool("tar"), "-tzf", pack.archive]),
        "tar": call([tool("tar"), "-tf", tmp_path / "env.tar"]),
        "zst": call([tool("tar"), "--zstd", "-tf", tmp_path / "env.tar.zst"]),
    }
    listed = {tuple(text.splitlines()) for text in listings.values()}
    with zipfile.ZipFile(tmp_path / "env.zip") as archive:
        assert archive.testzip() is None
        listed.add(tuple(archive.namelist()))
    (names,) = listed
    assert len(set(names)) == len(names)
    folder = tmp_path / "folder"
    assert sorted(names) == sorted(str(path.relative_to(folder)) for path in files(folder))
    call([tool("gzip"), "-t", pack.archive])
    call([tool("unzip"), "-tqq", tmp_path / "env.zip"])
    call([tool("zstd"), "-tq", tmp_path / "env.tar.zst"])


@pytest.mark.parametrize("form", ["env.zip", "env.tar.zst", "folder"])
@pytest.mark.xdist_group("python-3.9")
def test_other_formats_run_too(lab: Lab, packs: Packs, tmp_path: Path, form: str) -> None:
    """unzip keeps the modes, zstd the order, a directory needs nothing."""
    pack = packs.of("a", "3.9")
    place = tmp_path / "unpacked"
    place.mkdir(mode=0o755)
    out = tmp_path / form
    pack_project(pack.project, out, *(["--format", "dir"] if form == "folder" else []))
    if form == "folder":
        place = out
    elif form == "env.zip":
        call([tool("unzip"), "-q", out, "-d", place])
    else:
        call([tool("tar"), "--zstd", "-xf", out, "-C", place])
    done = lab.sandbox().run([f"{PLACE}/bin/shop"], binds={PLACE: place}, uid=USER)
    assert (done.returncode, done.stdout) == (0, ANSWER), done.stderr


@pytest.fixture(scope="session")
def own(lab: Lab) -> tuple[Path, Path]:
    """Give an environment on pyenv's 3.12, a prefix of its own, and that prefix."""
    base = lab.pyenv("3.12")
    env = uv_environment(lab.work / "no-pythons")
    del env["UV_MANAGED_PYTHON"]
    folder = lab.work / "own"
    call([uv_program(), "venv", "--no-project", "-q", "--python", base.executable, folder], env=env)
    words: list[str | Path] = [
        "pip",
        "install",
        "-q",
        "--python",
        folder / "bin/python",
        "rich",
        "numpy",
    ]
    call([uv_program(), *words], env=env)
    return folder, base.prefix


@pytest.mark.xdist_group("python-3.12")
def test_an_own_python_runs_where_its_libraries_are(
    lab: Lab, own: tuple[Path, Path], tmp_path: Path
) -> None:
    """pyenv's 3.12 with its absolute RUNPATHs, in a root that has Debian's libraries."""
    env, prefix = own
    before = tree_digest(prefix)
    clean = uv_environment(lab.work / "no-pythons")
    words: list[str | Path] = ["pack", env, "-o", tmp_path / "env.tar.gz", "--json"]
    report = json.loads(envpack(words, env=clean, cwd=tmp_path))
    assert found_in(report) == []
    assert tree_digest(prefix) == before
    assert not report["interpreter"]["managed"]
    assert {leak["name"] for leak in report["leaks"]} <= {"lib/libpython3.12.so.1.0"}
    place = unpack(tmp_path / "env.tar.gz", tmp_path / "unpacked")
    needles = [os.fsencode(prefix), os.fsencode(env)]
    found = {str(path.relative_to(place)) for path in files(place) if named(path, needles)}
    assert found <= {"lib/libpython3.12.so.1.0", "lib/libpython3.12.so"}, (
        "at most getpath's last resort, in .rodata"
    )
    code = "import sys, ssl, sqlite3, ctypes, lzma, numpy, rich; print(sys.prefix)"
    done = lab.sandbox(kind="pyenv").run(
        [f"{PLACE}/bin/python", "-c", code],
        binds={PLACE: place},
        env={"LD_LIBRARY_PATH": "/nowhere", "PYTHONUTF8": "1"},
        uid=USER,
    )
    assert (done.returncode, done.stdout) == (0, f"{PLACE}\n"), done.stderr


@pytest.mark.xdist_group("python-3.9")
def test_where_it_cannot_run_it_says_why(lab: Lab, packs: Packs) -> None:
    """musl knows no glibc loader; a root with libc alone lacks what manylinux leaves to it."""
    pack = packs.of("a", "3.9")
    words = [f"{PLACE}/bin/python", "-c", "print(1)"]
    musl = lab.sandbox(kind="musl").run(words, binds={PLACE: pack.unpacked})
    assert musl.returncode != 0
    assert "No such file or directory" in musl.stderr
    least = lab.sandbox(kind="min").run(words, binds={PLACE: pack.unpacked})
    assert least.returncode == 127
    assert "libcrypt.so.1" in least.stderr


@pytest.mark.xdist_group("python-3.12")
def test_a_newer_build_says_which_glibc_it_wants(lab: Lab, packs: Packs) -> None:
    """Built on glibc 2.36, it cannot run on bullseye's 2.31."""
    pack = packs.of("a", "3.12")
    words = [f"{PLACE}/bin/python", "-c", "print(1)"]
    done = lab.sandbox("bullseye").run(words, binds={PLACE: pack.unpacked})
    assert done.returncode == 1
    assert "version `GLIBC_2.3" in done.stderr


@pytest.mark.xdist_group("python-3.9")
def test_the_checks_can_fail(lab: Lab, packs: Packs, home: Path, tmp_path: Path) -> None:
    """A raw .venv in a tarball and venv-pack's archive do not start there."""
    pack = packs.of("c", "3.9")
    project = pack.project
    raw = tmp_path / "raw"
    raw.mkdir()
    call([tool("tar"), "-cf", tmp_path / "raw.tar", "-C", project.env, "."])
    call([tool("tar"), "-xf", tmp_path / "raw.tar", "-C", raw])
    peer = tmp_path / "peer"
    env = uv_environment(project.python.install_dir)
    tools = tmp_path / "tools"
    call([uv_program(), "venv", "-q", "--python", "3.9", tools], env=env)
    call(
        [
            uv_program(),
            "pip",
            "install",
            "-q",
            "--python",
            tools / "bin/python",
            "venv-pack",
            "setuptools<75",
        ],
        env=env,
    )
    call(
        [tools / "bin/venv-pack", "-q", "-p", project.env, "-o", tmp_path / "peer.tar.gz"], env=env
    )
    unpack(tmp_path / "peer.tar.gz", peer)
    for folder in (raw, peer):
        done = lab.sandbox().run(
            ["sh", "-c", f'"{PLACE}/bin/python" -c "print(1)"'], binds={PLACE: folder}
        )
        assert done.returncode == 127
        assert "not found" in done.stderr


@pytest.mark.xdist_group("python-3.9")
def test_with_uv_brings_a_uv_that_runs_anywhere(lab: Lab, packs: Packs, tmp_path: Path) -> None:
    """The static binary starts even where there is libc alone, and sees the packed Python."""
    pack = packs.of("c", "3.9")
    report = pack_project(pack.project, tmp_path / "env.tar.gz", "--with-uv")
    assert report["leaks"] == []
    place = unpack(tmp_path / "env.tar.gz", tmp_path / "unpacked")
    for kind in ("min", "musl"):
        done = lab.sandbox(kind=kind).run([f"{PLACE}/bin/uv", "--version"], binds={PLACE: place})
        assert (done.returncode, done.stdout[:3]) == (0, "uv "), done.stderr
    words = [
        f"{PLACE}/bin/uv",
        "venv",
        "-q",
        "--offline",
        "--python",
        f"{PLACE}/bin/python",
        "/tmp/v",
    ]
    done = lab.sandbox().run(words, binds={PLACE: place}, home="/root")
    assert done.returncode == 0, done.stderr


def test_the_sandbox_hides_this_machine(lab: Lab) -> None:
    """Neither a Python nor this repository is to be seen there."""
    here = str(Path(__file__).parent)
    done = lab.sandbox().run(["sh", "-c", f"ls '{here}' || command -v python3 || echo gone"])
    assert done.stdout == "gone\n"


STDLIB = "import sys, ssl, sqlite3, ctypes, lzma, bz2, zlib, readline, curses, uuid, crypt, nis"


@pytest.mark.parametrize(
    ("mode", "suite", "kind"),
    [
        ("auto", "bookworm", "std"),
        ("auto", "sid", "std"),
        ("all", "bookworm", "min"),
        ("all", "trixie", "min"),
        ("all", "sid", "min"),
    ],
)
@pytest.mark.xdist_group("python-3.12")
def test_an_own_python_carries_its_libraries(
    lab: Lab, own: tuple[Path, Path], tmp_path: Path, mode: str, suite: str, kind: str
) -> None:
    """auto runs where the usual libraries are, all where there is libc alone; numpy too."""
    env, _ = own
    clean = uv_environment(lab.work / "no-pythons")
    archive = tmp_path / "env.tar.gz"
    words: list[str | Path] = ["pack", env, "-o", archive, "--json", "--bundle-libs", mode]
    report = json.loads(envpack(words, env=clean, cwd=tmp_path))
    assert report["libraries"]["missing"] == []
    carried = set(report["libraries"]["carried"])
    assert {"lib/libssl.so.3", "lib/libffi.so.8", "lib/libsqlite3.so.0"} <= carried
    assert ("lib/libstdc++.so.6" in carried) is (mode == "all")
    place = unpack(archive, tmp_path / "unpacked")
    code = f"{STDLIB}, numpy, rich; print(sys.prefix); print(open('/proc/self/maps').read())"
    done = lab.sandbox(suite, kind).run(
        [f"{PLACE}/bin/python", "-W", "ignore", "-c", code],
        binds={PLACE: place},
        env={"LD_LIBRARY_PATH": "/nowhere", "PYTHONUTF8": "1"},
        uid=USER,
    )
    assert done.returncode == 0, done.stderr
    prefix, _, maps = done.stdout.partition("\n")
    assert prefix == PLACE
    loaded = {line.split("/", 1)[1] for line in maps.splitlines() if ".so" in line and "/" in line}
    of_the_host = {Path(path).name for path in loaded if not f"/{path}".startswith(PLACE)}
    ours = {name.removeprefix("lib/") for name in carried}
    assert not of_the_host & ours, "what is carried is not taken from the host"


@pytest.mark.xdist_group("python-3.9")
def test_the_floor_is_told_and_true(lab: Lab, packs: Packs) -> None:
    """The real 3.9 says which glibc it needs, and runs on the oldest machine here."""
    report = packs.of("b", "3.9").report
    (sentence, *_) = report["libraries"]["floor"]
    assert sentence.startswith("glibc 2.")
    assert report["libraries"]["carried"] == [], "a managed Python is not tied to this machine"
