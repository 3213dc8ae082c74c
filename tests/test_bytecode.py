"""Bytecode: what is compiled, from which text, the same every time, and listed."""

from __future__ import annotations

import ast
import csv
import glob
import hashlib
import importlib.util
import io
import json
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

import pytest

from envpack import bytecode
from envpack.bytecode import compile_plan
from envpack.distributions import distributions_in
from envpack.environment import Environment, discover
from envpack.errors import OutputFault, SourceFault, ToolFault
from envpack.model import Entry, Inline, Member, Plan, Reason
from envpack.parallel import Pool
from envpack.pipeline import stream
from envpack.plan import make_plan
from envpack.runs import Outcome
from envpack.select import Filter
from envpack.uv import Uv, run_python
from tests.trees import FakeEnvironment, elf, make_environment, write

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSION = f"{MINOR}.1"
TAG = sys.implementation.cache_tag
LIB = f"lib/python{MINOR}"
SITE = f"{LIB}/site-packages"
MAGIC = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
WORKER = Path(bytecode.__file__).with_name("compile_worker.py")


def fake_environment(folder: Path) -> FakeEnvironment:
    return make_environment(folder, version=VERSION)


def cached(name: str) -> str:
    """Return the name of a module's bytecode."""
    head, _, tail = name.rpartition("/")
    return f"{head}/__pycache__/{tail.removesuffix('.py')}.{TAG}.pyc"


def found(fake: FakeEnvironment, executable: str = sys.executable) -> Environment:
    """Discover a made-up environment, and let `executable` stand in for its interpreter."""
    environment = discover(str(fake.root))
    return environment._replace(interpreter=environment.interpreter._replace(executable=executable))


def plain(environment: Environment, extra: Sequence[Entry] = ()) -> Plan:
    dists = distributions_in(environment.root, environment.site_packages)
    return make_plan(environment, dists, mtime=0, extra=extra)


def compiled(
    fake: FakeEnvironment,
    scratch: Path,
    *,
    jobs: int = 2,
    said: list[str] | None = None,
    extra: Sequence[Entry] = (),
) -> Plan:
    scratch.mkdir(parents=True)
    environment = found(fake)
    say = (said if said is not None else []).append
    return compile_plan(plain(environment, extra), environment, str(scratch), jobs=jobs, say=say)


def packed(plan: Plan) -> dict[str, bytes]:
    """Return every member as it would be written."""
    with Pool(2) as pool:
        items = stream(plan, Outcome(), pool=pool, link=lambda _entry, _size: None)
        members = (item for item in items if isinstance(item, Member))
        return {member.name: b"".join(member.blocks) for member in members}


def pycs(plan: Plan) -> dict[str, bytes]:
    return {name: data for name, data in packed(plan).items() if name.endswith(".pyc")}


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def test_bytecode_stands_behind_its_source(tmp_path: Path) -> None:
    """Modules of the standard library and of distributions get it, scripts and data do not."""
    fake = fake_environment(tmp_path)
    files = {"shop/__init__.py": "", "shop/till.py": "x = 1\n", "../../../bin/sell.py": "x = 1\n"}
    fake.install("shop", "1.0", {**files, "../../../share/sample.py": "x = 1\n"})
    fake.add(f"{SITE}/loose.py", "y = 2\n")
    plan = compiled(fake, tmp_path / "scratch")
    names = [entry.name for entry in plan.entries]
    sources = [name for name in names if cached(name) in names]
    assert sources == [
        f"{LIB}/_sysconfigdata__linux_x86_64-linux-gnu.py",
        f"{LIB}/os.py",
        f"{SITE}/shop/__init__.py",
        f"{SITE}/shop/till.py",
        f"{SITE}/loose.py",
    ]
    assert all(names[names.index(name) + 1] == cached(name) for name in sources)
    assert len([name for name in names if name.endswith(".pyc")]) == len(sources)
    before = [entry.name for entry in plain(found(fake)).entries]
    assert [name for name in names if not name.endswith(".pyc")] == before


def test_filters_count_for_bytecode_too(tmp_path: Path) -> None:
    """--exclude and --include go by names in the archive, so they can spare the tests' bytecode."""
    fake = fake_environment(tmp_path)
    fake.install("shop", "1.0", {"shop/till.py": "", "shop/tests/a.py": "", "shop/tests/b.py": ""})
    rules = (Filter(True, "*/tests/__pycache__/*"), Filter(False, "*/b.*.pyc"))
    environment = found(fake)
    plan = compile_plan(
        plain(environment), environment, str(tmp_path), jobs=1, say=print, filters=rules
    )
    names = [entry.name.removeprefix(f"{SITE}/shop/") for entry in plan.entries]
    made = {name for name in names if name.endswith(".pyc") and not name.startswith("lib")}
    assert made == {f"__pycache__/till.{TAG}.pyc", f"tests/__pycache__/b.{TAG}.pyc"}
    assert "tests/a.py" in names


def test_bytecode_is_valid_whatever_the_mtime(tmp_path: Path) -> None:
    """PEP 552: magic number, the flag of an unchecked hash, the hash, then the code."""
    fake = fake_environment(tmp_path)
    text = b"# -*- coding: latin-1 -*-\nname = '\xe9'\n"
    fake.install("shop", "1.0", {"shop.py": text})
    data = pycs(compiled(fake, tmp_path / "scratch"))[cached(f"{SITE}/shop.py")]
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert data[4:8] == b"\x01\0\0\0"
    assert data[8:16] == importlib.util.source_hash(text)
    namespace: dict[str, Any] = {}
    exec(marshal.loads(data[16:]), namespace)  # noqa: S102, S302
    assert namespace["name"] == "\xe9"


def test_bytecode_names_no_path_of_the_build_machine(tmp_path: Path) -> None:
    """The code's file is its name in the archive, in nested code too."""
    fake = fake_environment(tmp_path)
    fake.install("shop", "1.0", {"shop/till.py": "class Till:\n    def sell(self): return 1\n"})
    made = pycs(compiled(fake, tmp_path / "scratch"))
    assert not [name for name, data in made.items() if os.fsencode(tmp_path) in data]
    code = marshal.loads(made[cached(f"{SITE}/shop/till.py")][16:])  # noqa: S302
    assert [inner.co_filename for inner in codes(code)] == [f"{SITE}/shop/till.py"] * 3


def test_the_packed_text_is_what_is_compiled(tmp_path: Path) -> None:
    """Also where a relocator edits it, where it is inline, and where it is another's alias."""
    fake = fake_environment(tmp_path)
    fake.install("shop", "1.0", {"shop.py": f"#!{fake.root}/bin/python\nx = 1\n"})
    (fake.site / "again.py").symlink_to("shop.py")
    extra = (Entry(f"{SITE}/inline.py", Inline(b"z = 3\n"), relocate=False),)
    all_members = packed(compiled(fake, tmp_path / "scratch", extra=extra))
    checked = [name for name in all_members if cached(name) in all_members]
    for name in checked:
        expected = importlib.util.source_hash(all_members[name])
        assert all_members[cached(name)][8:16] == expected, name
    assert {f"{SITE}/inline.py", f"{SITE}/again.py", f"{SITE}/shop.py"} < set(checked)
    (data,) = (d for name, d in all_members.items() if "_sysconfigdata" in name and "pyc" in name)
    namespace: dict[str, Any] = {}
    exec(marshal.loads(data[16:]), namespace)  # noqa: S102, S302
    assert namespace["build_time_vars"]["prefix"] == sys.base_prefix


def test_modules_that_do_not_compile_stay_text(tmp_path: Path) -> None:
    """Templates, other versions' syntax, null bytes, a wrong encoding: said, not fatal."""
    fake = fake_environment(tmp_path)
    bad: dict[str, str | bytes] = {
        "bad/old.py": "print 'x'\n",
        "bad/null.py": b"x = 1\0\n",
        "bad/cookie.py": "# coding: klingon\n",
        "bad/utf.py": b"x = '\xff'\n",
        "bad/deep.py": "-" * 200_000 + "1\n",
        "bad/{{ name }}.py": "{% if x %}\n",
    }
    fake.install("bad", "1.0", {**bad, "bad/good.py": "x = 1\n"})
    said: list[str] = []
    plan = compiled(fake, tmp_path / "scratch", said=said)
    names = {entry.name for entry in plan.entries}
    assert cached(f"{SITE}/bad/good.py") in names
    assert not [name for name in bad if cached(f"{SITE}/{name}") in names]
    assert all(f"{SITE}/{name}" in names for name in bad)
    assert [line for line in said if line.startswith("6 modules do not compile")]
    assert plan.warnings == ()


def test_the_same_bytes_twice_with_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the workers nor what the shell says to Python count."""
    fake = fake_environment(tmp_path)
    text = "class A{0}:\n    def f(self, x): return x in {{'a', 'b', None, ('c', {0})}}\n"
    for number in range(5):
        files = {f"pkg{number}/m{n}.py": text.format(n) for n in range(9)}
        fake.install(f"pkg{number}", "1.0", files)
    one = pycs(compiled(fake, tmp_path / "scratch 1", jobs=1))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    monkeypatch.setenv("PYTHONNODEBUGRANGES", "1")
    monkeypatch.setattr(bytecode, "BATCH", 100)
    assert pycs(compiled(fake, tmp_path / "scratch é", jobs=7)) == one
    assert len(one) == 47


def test_one_process_per_distribution_and_no_endless_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large distribution takes several, so that all workers have something to do."""
    fake = fake_environment(tmp_path)
    write(fake.prefix / SITE / "README.txt", "sorts before stat.py")
    write(fake.prefix / LIB / "stat.py")
    fake.install("small", "1.0", {"small.py": ""})
    fake.install("large", "1.0", {f"large/m{n}.py": "x = 1\n" * 30 for n in range(4)})
    fake.add(f"{SITE}/loose.py")
    runs: list[list[str]] = []

    def run(python: str, args: Sequence[str], data: bytes, *, what: str) -> bytes:
        runs.append([os.path.basename(name) for _, name, _ in json.loads(data)])
        return run_python(python, args, data, what=what)

    monkeypatch.setattr(bytecode, "run_python", run)
    monkeypatch.setattr(bytecode, "BATCH", 300)
    compiled(fake, tmp_path / "scratch", jobs=1)
    probe, stdlib, *others = runs
    assert probe == []
    assert stdlib[0].startswith("_sysconfigdata")
    others = [batch for batch in others if batch != ["os.py", "stat.py"]]
    assert others == [["m0.py", "m1.py"], ["m2.py", "m3.py"], ["small.py"], ["loose.py"]]


def rows_of(all_members: dict[str, bytes], info: str) -> list[list[str]]:
    text = all_members[f"{SITE}/{info}/RECORD"].decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def test_record_lists_the_bytecode(tmp_path: Path) -> None:
    """With hash and size, once, also where an installer had listed it without."""
    fake = fake_environment(tmp_path)
    info = fake.install("shop", "1.0", {"shop.py": "x = 1\n", "a,b/till.py": "y = 1\n"})
    with open(info / "RECORD", "a", encoding="utf-8") as record:
        record.write(f"__pycache__/shop.{TAG}.pyc,,\n")
        record.write('"a,b/till.py",,\n')
    fake.install("other", "1.0", {"other.py": ""})
    all_members = packed(compiled(fake, tmp_path / "scratch"))
    rows = rows_of(all_members, "shop-1.0.dist-info")
    paths = [path for path, _, _ in rows if path.endswith(".pyc")]
    assert sorted(paths) == [f"__pycache__/shop.{TAG}.pyc", f"a,b/__pycache__/till.{TAG}.pyc"]
    for path, digest, size in rows:
        if not path.endswith("RECORD"):
            data = all_members[f"{SITE}/{path}"]
            method, _, value = digest.partition("=")
            expected = hashlib.new(method, data).digest()
            assert int(size) == len(data)
            assert importlib.import_module("base64").urlsafe_b64decode(value + "=") == expected
    other = rows_of(all_members, "other-1.0.dist-info")
    assert [row[0] for row in other if "shop" in row[0]] == []


def test_the_manifest_lists_the_bytecode(tmp_path: Path) -> None:
    """It is still the last member and names every other one."""
    fake = fake_environment(tmp_path)
    fake.install("shop", "1.0", {"shop.py": "x = 1\n"})
    all_members = packed(compiled(fake, tmp_path / "scratch"))
    *names, last = all_members
    files = json.loads(all_members[last])["files"]
    assert list(files) == names
    pyc = cached(f"{SITE}/shop.py")
    assert files[pyc]["sha256"] == hashlib.sha256(all_members[pyc]).hexdigest()


def test_what_is_compiled_anew_is_not_left_out(tmp_path: Path) -> None:
    """The environment's own caches are replaced; those that nothing replaces stay reported."""
    fake = fake_environment(tmp_path)
    fake.install("shop", "1.0", {"shop.py": "x = 1\n"})
    fake.add(cached(f"{SITE}/shop.py"), b"old")
    fake.add(cached(f"{SITE}/gone.py"), b"old")
    plan = compiled(fake, tmp_path / "scratch")
    left = [item.name for item in plan.left_out if item.reason is Reason.BYTECODE]
    assert cached(f"{SITE}/gone.py") in left
    assert cached(f"{SITE}/shop.py") not in left


def test_an_interpreter_that_cannot_run_here_is_stood_in_for(tmp_path: Path) -> None:
    """A Python here with the packed one's version and magic number compiles, and that is said."""
    fake = fake_environment(tmp_path)
    write(fake.prefix / f"bin/python{MINOR}", elf(machine=183), 0o755)
    external = "MAGIC_NUMBER = ({}).to_bytes(2, 'little') + b'\\r\\n'\n"
    source = write(fake.prefix / LIB / "importlib/_bootstrap_external.py", external.format(MAGIC))
    environment = discover(str(fake.root))
    said: list[str] = []
    (tmp_path / "scratch").mkdir()
    plan = compile_plan(
        plain(environment), environment, str(tmp_path / "scratch"), jobs=1, say=said.append
    )
    assert cached(f"{LIB}/os.py") in {entry.name for entry in plan.entries}
    why = f"the packed Python {MINOR} is for linux-aarch64-gnu and does not run here"
    assert said[0] == f"compiling with `{sys.executable}`: {why}"
    source.write_text(external.format(MAGIC + 1), "utf-8")
    with pytest.raises(ToolFault, match="does not run here, and no other Python") as caught:
        compile_plan(plain(environment), environment, str(tmp_path), jobs=1, say=said.append)
    assert "without --compile" in str(caught.value.hint)


def test_the_newer_place_of_the_magic_number_is_known(tmp_path: Path) -> None:
    """From 3.14 on a header says it; where nothing does, nobody stands in."""
    fake = fake_environment(tmp_path)
    write(fake.prefix / f"bin/python{MINOR}", elf(machine=183), 0o755)
    environment = discover(str(fake.root))
    assert bytecode._magic_of(environment.interpreter) is None
    with pytest.raises(ToolFault, match="no other Python"):
        compile_plan(plain(environment), environment, str(tmp_path), jobs=1, say=print)
    header = fake.prefix / f"include/python{MINOR}/internal/pycore_magic_number.h"
    write(header, f"#define PYC_MAGIC_NUMBER {MAGIC}\n")
    assert bytecode._magic_of(environment.interpreter) == importlib.util.MAGIC_NUMBER.hex()


def test_a_python_of_another_version_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a program that only has the name; the sentence says why the packed one did not do."""
    fake = fake_environment(tmp_path)
    shell = write(fake.prefix / "bin/broken", "#!/bin/sh\necho no libfoo.so >&2\nexit 127\n", 0o755)
    other = write(tmp_path / f"path/python{MINOR}", "#!/bin/sh\necho hello\n", 0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    magic = f"MAGIC_NUMBER = ({MAGIC}).to_bytes(2, 'little') + b'\\r\\n'\n"
    write(fake.prefix / LIB / "importlib/_bootstrap_external.py", magic)
    environment = found(fake, str(shell))
    with pytest.raises(ToolFault, match=r"does not start here \(.*no libfoo.so\), and no other"):
        compile_plan(plain(environment), environment, str(tmp_path), jobs=1, say=print)


def test_a_source_that_vanishes_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether envpack reads it or the interpreter; and so is a scratch folder that is full."""
    fake = fake_environment(tmp_path)
    path = fake.install("shop", "1.0", {"shop.py": "x = 1\n"}).parent / "shop.py"
    environment = found(fake)
    plan = plain(environment)
    path.unlink()
    with pytest.raises(SourceFault, match=r"cannot read `.*shop\.py`: No such file"):
        compile_plan(plan, environment, str(tmp_path), jobs=1, say=print)
    monkeypatch.setattr(bytecode, "relocator_for", lambda _name, _head: None)
    monkeypatch.setattr(bytecode, "_new_text", lambda *_: None)
    (tmp_path / "two").mkdir()
    with pytest.raises(SourceFault, match=r"cannot read `.*shop\.py`: No such file"):
        compile_plan(plan, environment, str(tmp_path / "two"), jobs=1, say=print)
    with pytest.raises(OutputFault, match="cannot write bytecode") as caught:
        compile_plan(plan, environment, str(tmp_path / "absent"), jobs=1, say=print)
    assert "TMPDIR" in str(caught.value.hint)


def test_bytecode_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter says which file it was; a file in the way stands for a full disk."""
    fake = fake_environment(tmp_path)
    environment = found(fake)
    batches = bytecode._batches

    def blocked(*args: Any) -> Iterator[Any]:
        write(tmp_path / "bytecode/0-0.pyc", b"in the way")
        yield from batches(*args)

    monkeypatch.setattr(bytecode, "_batches", blocked)
    with pytest.raises(OutputFault, match=r"cannot write bytecode to `.*`: File exists"):
        compile_plan(plain(environment), environment, str(tmp_path), jobs=1, say=print)


def test_the_worker_is_text_for_python_3_8() -> None:
    """The oldest interpreter that is packed must be able to read it."""
    ast.parse(WORKER.read_text("utf-8"), feature_version=(3, 8))


def test_what_lies_beside_the_worker_is_not_imported(tmp_path: Path) -> None:
    """Envpack has a `select` of its own; a script's folder comes first on sys.path."""
    folder = tmp_path / "real"
    write(folder / "json.py", "raise SystemExit('the wrong json')\n")
    worker = str(shutil.copy(WORKER, folder))
    answer = json.loads(run_python(sys.executable, [worker], b"[]", what="ask"))
    assert answer == {"tag": TAG, "magic": importlib.util.MAGIC_NUMBER.hex(), "failed": []}


def test_a_python_runs_without_site_and_without_the_shells_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No site-packages, no PYTHONPATH, a fixed hash seed, UTF-8; stdin and stdout are bytes."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    script = (
        "import os, sys; flags = sys.flags;"
        "names = sorted(name for name in os.environ if name.startswith('PYTHON'));"
        "print([flags.no_site, flags.hash_randomization, flags.utf8_mode, sys.dont_write_bytecode,"
        "'/somewhere' in sys.path, names, sys.stdin.read()])"
    )
    answer = run_python(sys.executable, ["-c", script], "é".encode(), what="ask")
    names = ["PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED"]
    assert ast.literal_eval(answer.decode()) == [1, 0, 1, True, False, names, "é"]


def test_a_python_that_fails_is_a_sentence() -> None:
    """The last line it wrote, without credentials, or how it ended, or why it did not start."""
    script = "raise SystemExit('first\\n  https://me:secret@host/ is down\\n')"
    with pytest.raises(ToolFault, match=r"cannot ask it: https://\*\*\*@host/ is down$"):
        run_python(sys.executable, ["-c", script], b"", what="ask it")
    with pytest.raises(ToolFault, match=r"cannot ask it: it ended with status 3$"):
        run_python(sys.executable, ["-c", "raise SystemExit(3)"], b"", what="ask it")
    with pytest.raises(ToolFault, match=r"cannot run `/nowhere/python`: No such file"):
        run_python("/nowhere/python", [], b"", what="ask it")


def missing(reason: str) -> NoReturn:
    """Skip, loudly; fail where the machines are promised to be complete."""
    if os.environ.get("ENVPACK_REQUIRE_MACHINES") == "1":
        pytest.fail(reason)
    pytest.skip(f"NOT TESTED: {reason}")


def executables() -> Iterator[Path]:
    """Yield the Pythons that uv finds and pyenv keeps, then the one that runs this."""
    try:
        uv = [Uv.find().path, "python", "find", "--no-project", "--system"]
    except ToolFault as fault:
        missing(str(fault))
    for minor in ("3.12", "3.13", "3.11", "3.14", "3.10", "3.9", "3.8"):
        asked = subprocess.run([*uv, minor], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            yield Path(asked.stdout.strip()).resolve()
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for path in sorted(glob.glob(os.path.join(pyenv, "versions", "3.*", "bin", "python3"))):
        real = Path(path).resolve()
        if int(real.name.rpartition(".")[2]) >= 8:
            yield real
    yield Path(sys.base_prefix, "bin", f"python{MINOR}").resolve()


def state(folder: Path) -> set[tuple[str, int, int]]:
    """Return every file with its size and mtime."""
    paths = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    return {(str(p), p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy a Python of its own prefix without bytecode, so that any that is written is seen."""
    for executable in executables():
        prefix = executable.parent.parent
        minor = executable.name.removeprefix("python")
        lib = prefix / "lib" / f"python{minor}"
        if (lib / "os.py").is_file() and not prefix.is_relative_to("/usr"):
            ignored = shutil.ignore_patterns(
                "__pycache__", "test", "idlelib", "config-*", "*.a", "site-packages", "share"
            )
            copy = tmp_path_factory.mktemp("base") / "python"
            shutil.copytree(prefix, copy, symlinks=True, ignore=ignored)
            (copy / "lib" / f"python{minor}" / "site-packages").mkdir()
            return copy / "bin" / executable.name
    missing("no Python with a prefix of its own, which could be packed, was found")


def real_environment(folder: Path, executable: Path) -> FakeEnvironment:
    """Make an environment by hand on a real interpreter."""
    root = folder / "project" / ".venv"
    minor = executable.name.removeprefix("python")
    site = root / f"lib/python{minor}/site-packages"
    site.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin/python").symlink_to(executable)
    home = executable.parent
    write(root / "pyvenv.cfg", f"home = {home}\nversion_info = {minor}\nuv = 0.13.8\n")
    return FakeEnvironment(folder / "project", root, home.parent, site)


TILL = "def sell():\n    raise ValueError('sold out')\n"
PROBE = """
import asyncio, email.message, json, sys, traceback
import shop.till
try:
    shop.till.sell()
except ValueError as error:
    frame = traceback.extract_tb(error.__traceback__)[-1]
print(json.dumps([frame.filename, frame.line, json.__cached__, shop.till.ANSWER]))
"""


def test_a_real_interpreter_compiles_itself(base: Path, tmp_path: Path) -> None:
    """Twice the same, nothing written to it; the packed modules run from bytecode alone.

    A traceback shows the file where it lies now and its line, though the bytecode names neither.
    """
    fake = real_environment(tmp_path, base)
    fake.install("shop", "1.0", {"shop/__init__.py": "", "shop/till.py": TILL + "ANSWER = 42\n"})
    environment = discover(str(fake.root))
    before = state(base.parent.parent) | state(fake.root)
    made = []
    for jobs in (2, 3):
        scratch = tmp_path / f"scratch {jobs}"
        scratch.mkdir()
        plan = compile_plan(plain(environment), environment, str(scratch), jobs=jobs, say=print)
        made.append(packed(plan))
    assert made[0] == made[1]
    assert state(base.parent.parent) | state(fake.root) == before
    new = tmp_path / "a new place"
    for entry in plan.entries:
        write(new / entry.name, made[0][entry.name], 0o755 if entry.executable else 0o644)
    site = new / environment.site_packages
    write(site / "shop/till.py", TILL + "ANSWER = 1\n")
    run = subprocess.run(
        [new / "bin/python", "-I", "-B", "-v", "-c", PROBE],
        capture_output=True,
        text=True,
        check=True,
    )
    file, line, cache, answer = json.loads(run.stdout)
    assert file == str(site / "shop/till.py")
    assert line == "raise ValueError('sold out')"
    assert Path(cache).is_file()
    assert answer == 42
    assert "wrote" not in run.stderr
    lines = run.stderr.splitlines()
    assert not [
        text for text in lines if text.startswith("# code object from") and ".pyc" not in text
    ]


MODULES = ("html/entities.py", "json/decoder.py", "email/message.py", "configparser.py", "shlex.py")
BEFORE = "import asyncio, configparser, email.message, html, json, runpy, shlex, sys\n"
BEFORE += "letters = [sys.intern(chr(code)) for code in range(33, 256)]\n"


def test_what_was_done_before_does_not_count(tmp_path: Path) -> None:
    """On every Python found, bytecode is the same whatever was imported or compiled before it.

    Without care 3.8 to 3.10 differ in four of five modules of the standard library.
    """
    seen = set()
    for executable in executables():
        minor = executable.name.removeprefix("python")
        lib = executable.parent.parent / "lib" / f"python{minor}"
        if minor in seen or not (lib / "os.py").is_file():
            continue
        seen.add(minor)
        imports = (
            f"{BEFORE}sys.path.insert(0, '')\nrunpy.run_path({str(WORKER)!r}, None, '__main__')"
        )
        sources = [(lib / name, name) for name in MODULES]
        orders = (sources, sources[::-1], *([source] for source in sources), sources)
        commands = [[str(WORKER)]] * (len(orders) - 1) + [["-c", imports]]
        made: dict[str, set[bytes]] = {}
        for turn, (order, command) in enumerate(zip(orders, commands, strict=True)):
            outputs = [tmp_path / f"{minor}-{turn}-{number}" for number in range(len(order))]
            rows = [(str(s), n, str(out)) for (s, n), out in zip(order, outputs, strict=True)]
            run_python(str(executable), command, json.dumps(rows).encode(), what="compile")
            for (_, name, _), out in zip(rows, outputs, strict=True):
                made.setdefault(name, set()).add(out.read_bytes())
        assert {name: len(different) for name, different in made.items()} == dict.fromkeys(
            MODULES, 1
        )
    if not seen:
        missing("no Python was found")
