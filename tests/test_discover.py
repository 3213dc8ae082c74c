"""Discovery: what an environment and its interpreter are, told from files alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from envpack import interpreter
from envpack.editable_hooks import outside
from envpack.environment import discover
from envpack.errors import EnvironmentFault, EnvpackError, UnsupportedBase
from envpack.interpreter import interpreter_at
from envpack.plan import make_plan
from tests.trees import FakeEnvironment, elf, make_environment, make_prefix, write


@pytest.mark.smoke
def test_describes_a_managed_environment(tmp_path: Path) -> None:
    """Version, target, build and the minor-version link are read without running anything."""
    fake = make_environment(tmp_path)
    environment = discover(str(fake.root))
    interpreter = environment.interpreter
    assert interpreter.prefix == str(fake.prefix)
    assert interpreter.spellings == (str(tmp_path / "pythons/cpython-3.12-linux-x86_64-gnu"),)
    assert (interpreter.version, interpreter.minor) == ("3.12.1", "3.12")
    assert (interpreter.managed, interpreter.build) == (True, "20240107")
    assert str(interpreter.target) == "linux-x86_64-gnu"
    assert environment.project is not None
    assert (environment.project.name, environment.project.version) == ("My_Shop", "1.2")
    assert not environment.system_site


def test_a_link_to_an_environment_is_one_more_spelling_of_it(tmp_path: Path) -> None:
    """Files may name the environment by the link, so both are known."""
    fake = make_environment(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(fake.root)
    environment = discover(str(link))
    assert environment.root == str(fake.root)
    assert environment.spellings == (str(link),)


def test_a_relocatable_activate_is_no_sign_of_a_move(tmp_path: Path) -> None:
    """`uv venv --relocatable` writes no path into activate, so nothing contradicts the place."""
    fake = make_environment(tmp_path)
    write(fake.root / "bin/activate", "VIRTUAL_ENV=$(dirname $SCRIPT_PATH)\n")
    assert discover(str(fake.root)).root == str(fake.root)


def refusal(path: Path) -> EnvpackError:
    with pytest.raises(EnvpackError) as caught:
        discover(str(path))
    text = str(caught.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return caught.value


def test_refuses_what_is_no_environment(tmp_path: Path) -> None:
    """No folder, a file, and a folder without pyvenv.cfg are three different sentences."""
    assert "no environment at" in str(refusal(tmp_path / "missing"))
    assert "is not a directory" in str(refusal(write(tmp_path / "file")))
    assert "has no pyvenv.cfg" in str(refusal(tmp_path))


def test_refuses_what_envpack_wrote(tmp_path: Path) -> None:
    """An unpacked archive is no virtual environment any more: it needs no base."""
    fake = make_environment(tmp_path)
    write(fake.root / "pyvenv.cfg", "include-system-site-packages = false\n")
    assert "names no `home`" in str(refusal(fake.root))


def test_refuses_an_environment_whose_interpreter_is_gone(tmp_path: Path) -> None:
    """A removed or moved interpreter leaves a dangling link."""
    fake = make_environment(tmp_path)
    shutil.rmtree(tmp_path / "pythons")
    error = refusal(fake.root)
    assert isinstance(error, EnvironmentFault)
    assert "is gone" in str(error)
    assert error.hint


def test_refuses_a_moved_environment(tmp_path: Path) -> None:
    """Its activate still names the place it was made at."""
    fake = make_environment(tmp_path)
    moved = tmp_path / "elsewhere"
    fake.root.rename(moved)
    assert f"was made at `{fake.root}` and then moved" in str(refusal(moved))


def base(tmp_path: Path, prefix: Path, name: str = "python3.12") -> Path:
    """Return an environment on `prefix` instead of the managed one."""
    fake = make_environment(tmp_path)
    link = fake.root / "bin/python"
    link.unlink()
    link.symlink_to(prefix / "bin" / name)
    return fake.root


def test_refuses_a_conda_base(tmp_path: Path) -> None:
    """A conda prefix holds other software, and conda-pack is there for it."""
    prefix = make_prefix(tmp_path / "conda")
    (prefix / "conda-meta").mkdir()
    error = refusal(base(tmp_path, prefix))
    assert isinstance(error, UnsupportedBase)
    assert "conda" in str(error)
    assert "conda-pack" in (error.hint or "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("python3.12t", "free-threaded"),
        ("python3.12d", "debug"),
        ("pypy3.10", "not CPython"),
    ],
)
def test_refuses_other_builds_by_name(tmp_path: Path, name: str, words: str) -> None:
    """Free-threaded, debug and PyPy executables are told by their names."""
    prefix = make_prefix(tmp_path / "other")
    write(prefix / "bin" / name, elf(), 0o755)
    assert words in str(refusal(base(tmp_path, prefix, name)))


def test_refuses_a_standard_library_in_lib64(tmp_path: Path) -> None:
    """Fedora's layout is recognised, not mangled."""
    prefix = make_prefix(tmp_path / "fedora")
    (prefix / "lib64").mkdir()
    (prefix / "lib/python3.12").rename(prefix / "lib64/python3.12")
    assert "lib64" in str(refusal(base(tmp_path, prefix)))


@pytest.mark.parametrize(
    ("magic", "words"), [(b"\xcf\xfa\xed\xfe" + bytes(99), "macOS"), (b"MZ" + bytes(99), "Windows")]
)
def test_refuses_other_systems_by_the_executable(tmp_path: Path, magic: bytes, words: str) -> None:
    """The executable's first bytes say what it runs on."""
    prefix = make_prefix(tmp_path / "other")
    write(prefix / "bin/python3.12", magic, 0o755)
    assert words in str(refusal(base(tmp_path, prefix)))


def test_refuses_the_system_python() -> None:
    """`/usr` holds the whole system, not just Python; the hint names each way out."""
    for prefix in ("/usr", "/usr/local"):
        with pytest.raises(UnsupportedBase, match="the system's own") as caught:
            interpreter_at(f"{prefix}/bin/python3.12", f"{prefix}/bin", "3.12")
        hint = caught.value.hint or ""
        assert all(f"`{way}`" in hint for way in ("uv sync --managed-python", "--no-python"))


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEnvironment:
    """An environment on a Python that lies in a prefix with much else, as `/usr` is one."""
    fake = make_environment(tmp_path)
    prefixes = frozenset({str(fake.prefix), str(fake.prefix.parent)})
    monkeypatch.setattr(interpreter, "SHARED", prefixes)
    return fake


def test_a_shared_prefix_is_taken_where_it_is_not_packed(shared: FakeEnvironment) -> None:
    """Without its Python an environment on the system's is like any other, conda's too."""
    with pytest.raises(UnsupportedBase, match="the system's own"):
        discover(str(shared.root))
    found = discover(str(shared.root), packed=False).interpreter
    assert (found.prefix, found.minor) == (str(shared.prefix), "3.12")
    (shared.prefix / "conda-meta").mkdir()
    assert discover(str(shared.root), packed=False).interpreter == found


def test_a_path_below_a_shared_prefix_is_not_the_python_s(shared: FakeEnvironment) -> None:
    """Nothing in `/usr` is moved into the archive, looked for in it, or taken for packed."""
    environment = discover(str(shared.root), packed=False)
    plan = make_plan(environment, (), mtime=0, starter="")
    assert environment.interpreter.places == ()
    assert {move.old for move in plan.moves} == {str(shared.root), f"{shared.root}/lib64"}
    assert str(shared.prefix) not in plan.needles
    assert outside(environment, [f"{shared.prefix}/share"]) == [f"{shared.prefix}/share"]


def test_a_shared_folder_is_no_spelling_of_a_prefix(shared: FakeEnvironment) -> None:
    """`home = /usr/bin`, where a Python elsewhere is linked, does not make `/usr` its prefix."""
    own = make_prefix(shared.root.parent / "own")
    executable, home = str(own / "bin/python3.12"), str(shared.prefix / "bin")
    assert interpreter_at(executable, home, "3.12").places == (str(own),)


def test_a_standard_library_in_lib64_is_taken_where_it_is_not_packed(tmp_path: Path) -> None:
    """Fedora's environments hold their packages where all others do."""
    prefix = make_prefix(tmp_path / "fedora")
    (prefix / "lib64").mkdir()
    (prefix / "lib/python3.12").rename(prefix / "lib64/python3.12")
    assert discover(str(base(tmp_path, prefix)), packed=False).interpreter.minor == "3.12"


def test_refuses_other_implementations(tmp_path: Path) -> None:
    """pyvenv.cfg names the implementation."""
    fake = make_environment(tmp_path)
    config = fake.root / "pyvenv.cfg"
    config.write_text(config.read_text().replace("CPython", "PyPy"))
    assert "PyPy" in str(refusal(fake.root))


def test_refuses_a_windows_environment(tmp_path: Path) -> None:
    """A folder with Scripts/python.exe is Windows's."""
    fake = make_environment(tmp_path)
    write(fake.root / "Scripts/python.exe", b"MZ")
    assert "Windows" in str(refusal(fake.root))


def test_musl_is_told_by_the_loader(tmp_path: Path) -> None:
    """PT_INTERP names musl's loader."""
    fake = make_environment(tmp_path)
    write(fake.prefix / "bin/python3.12", elf(interp=b"/lib/ld-musl-x86_64.so.1\0"), 0o755)
    assert str(discover(str(fake.root)).interpreter.target) == "linux-x86_64-musl"
