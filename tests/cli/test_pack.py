"""`envpack pack` as a person and a program see it: whole outputs, exit codes, nothing left over."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from envpack.cli import run
from envpack.presets import PRESETS
from tests.judges import needed
from tests.test_floor import elf as shared_object
from tests.trees import FakeEnvironment, elf, make_environment, write

SITE = "lib/python3.12/site-packages"


class Result(NamedTuple):
    """What one call of the command line gave back."""

    code: int
    out: str
    err: str


Call = Callable[..., Result]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEnvironment:
    """A project with an environment, which is the current directory."""
    fake = make_environment(tmp_path)
    fake.install("six", "1.0", {"six.py": "x = 1\n"})
    monkeypatch.chdir(fake.project)
    for name in ("VIRTUAL_ENV", "SOURCE_DATE_EPOCH", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return fake


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run the command line in this process; paths of the test become <tmp>."""

    def call(*words: str) -> Result:
        code = run(list(words))
        out, err = capfd.readouterr()
        return Result(code, *(text.replace(str(tmp_path), "<tmp>") for text in (out, err)))

    return call


def tidy(text: str) -> str:
    """Replace what depends on the length of the test's folder."""
    text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:<digest>", text)
    return re.sub(r"\b[\d.]+ k?B$", "<size>", text, flags=re.MULTILINE)


def listing(folder: Path) -> list[str]:
    """Return the names in a folder, sorted."""
    return sorted(item.name for item in folder.iterdir())


@pytest.mark.smoke
def test_packs_the_project_of_the_current_directory(fake: FakeEnvironment, call: Call) -> None:
    """Without a word: .venv into <project>-<version>-<platform>.tar.gz, its name on stdout."""
    code, out, err = call("pack")
    assert (code, out) == (0, "my-shop-1.2-linux-x86_64-gnu.tar.gz\n")
    assert (
        tidy(err)
        == """\
packing 20 files, <size>
Packed .venv into my-shop-1.2-linux-x86_64-gnu.tar.gz
  platform  linux-x86_64-gnu
  python    CPython 3.12.1 (managed by uv, build 20240107)
  content   1 package, 20 files, <size>
  edited    5 files: 1 build files, 1 pkg-config, 2 script header, 1 sysconfig
  left out  the virtual environment's own bookkeeping: 7 files, <size>
  left out  packages of the base interpreter: 4 files, <size>
  left out  scripts of the base interpreter's packages: 1 file, <size>
  left out  activation scripts that cannot be made relocatable: 1 file, <size>
  left out  the EXTERNALLY-MANAGED marker: 1 file, <size>
  left out  static libraries and object files: 2 files, <size>
  left out  uv's own bookkeeping: 2 files, <size>
  left out  bytecode caches: 1 file, <size>
  digest    sha256:<digest>
  size      <size>
"""
    )
    assert listing(fake.project) == [
        ".venv",
        "my-shop-1.2-linux-x86_64-gnu.tar.gz",
        "pyproject.toml",
    ]


def test_quiet_leaves_only_the_name(fake: FakeEnvironment, call: Call) -> None:
    """-q prints errors only; the archive's name is data."""
    assert call("pack", "-q", "-o", "env.tar.gz") == Result(0, "env.tar.gz\n", "")


def test_json_is_all_there_is(fake: FakeEnvironment, call: Call) -> None:
    """A versioned document on stdout, nothing on stderr."""
    code, out, err = call("pack", "--json", "-o", "env.tar.zst")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["schema"] == "envpack.pack/1"
    assert report["format"] == "tar.zst"
    assert report["output_size"] == os.path.getsize("env.tar.zst")
    assert report["packages"] == [{"name": "six", "version": "1.0"}]
    assert report["leaks"] == []
    assert report["findings"] == []
    assert sorted(report) == sorted(
        [
            "schema",
            "environment",
            "output",
            "format",
            "dry_run",
            "platform",
            "interpreter",
            "packages",
            "editables",
            "files",
            "size",
            "output_size",
            "digest",
            "edited",
            "edits",
            "left_out",
            "libraries",
            "clashes",
            "outside",
            "scrubbed",
            "secrets",
            "leaks",
            "warnings",
            "findings",
            "usage",
        ]
    )


def test_a_dry_run_writes_nothing(fake: FakeEnvironment, call: Call) -> None:
    """It reports the plan, and nothing is on stdout."""
    code, out, err = call("pack", "--dry-run")
    assert (code, out) == (0, "")
    assert err.startswith("Would pack .venv into my-shop-1.2-linux-x86_64-gnu.tar.gz\n")
    assert listing(fake.project) == [".venv", "pyproject.toml"]


def test_a_deep_dry_run_reads_all(fake: FakeEnvironment, call: Call) -> None:
    """It tells what is known only of read files, the same as a pack, and writes nothing."""
    fake.add("share/where.txt", f"{fake.project}\n")
    deep = json.loads(call("pack", "--dry-run", "--deep", "--json").out)
    assert listing(fake.project) == [".venv", "pyproject.toml"]
    real = json.loads(call("pack", "--json").out)
    assert deep["edits"]["sysconfig"] == 1
    assert [leak["name"] for leak in deep["leaks"]] == ["share/where.txt"]
    assert deep == {**real, "dry_run": True, "output_size": 0}
    err = call("pack", "--dry-run", "--deep").err
    assert f"  digest    sha256:{deep['digest']}\n" in err
    assert "Would pack" in err


def test_deep_is_for_a_dry_run(fake: FakeEnvironment, call: Call) -> None:
    """A pack is always deep."""
    code, out, err = call("pack", "--deep")
    assert (code, out) == (2, "")
    assert err == "error: --deep says how much a dry run does, so it needs --dry-run\n"
    assert listing(fake.project) == [".venv", "pyproject.toml"]


def test_virtual_env_is_the_second_guess(
    fake: FakeEnvironment, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no .venv, $VIRTUAL_ENV says which."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setenv("VIRTUAL_ENV", str(fake.root))
    assert call("pack", "-q").code == 0
    assert listing(empty) == ["my-shop-1.2-linux-x86_64-gnu.tar.gz"]


BAD_WORDS = [
    (
        ["pack", "nowhere"],
        1,
        "error: no environment at `nowhere`\nhint: run `uv sync` first, or name the environment\n",
    ),
    (["pack", "pyproject.toml"], 1, "error: `pyproject.toml` is not a directory\n"),
    (
        ["pack", ".."],
        1,
        "error: `..` is not a virtual environment: it has no pyvenv.cfg\n"
        "hint: name the environment's folder, such as `.venv`\n",
    ),
    (["pack", "-o", "env.rar"], 2, None),
    (["pack", "--format", "rar"], 2, None),
    (["pack", "--compress-level", "10"], 2, None),
    (["pack", "-j", "0"], 2, None),
    (["pack", "--arcroot", "../x"], 2, "error: `../x` is no relative folder name for --arcroot\n"),
    (
        ["pack", "--format", "zip", "--links", "hard"],
        2,
        "error: the format `zip` cannot hold `hard` links\n",
    ),
    (
        ["pack", "--format", "tar", "--compress-level", "3"],
        2,
        "error: the format `tar` is not compressed, so it has no level\n",
    ),
    (
        ["pack", "-o", "no/such/env.tar.gz"],
        1,
        "error: the folder `<tmp>/project/no/such` does not exist\nhint: make it first\n",
    ),
    (
        ["pack", "-o", "taken.tar.gz"],
        1,
        "error: `taken.tar.gz` exists\nhint: overwrite it with -f\n",
    ),
    (["pack", "-f", "-o", "folder.tar.gz"], 1, "error: `folder.tar.gz` is a folder\n"),
    (
        ["pack", "-f", "--format", "dir", "-o", "folder"],
        1,
        "error: `folder` exists and was not written by envpack\n",
    ),
    (
        ["pack", "--format", "zip", "-o", "x.TAR.GZ"],
        2,
        "error: the name `x.TAR.GZ` says another format than `zip`\n"
        "hint: name one of both, or let the name end so\n",
    ),
    (["pack", "--format", "dir", "-o", "x.tar"], 2, None),
    (["pack", "--format", "tar", "-o", "x.tar.gz"], 2, None),
    (["pack", "--for", "mars"], 2, None),
    (["pack", "--for", "spark", "--arcroot", "x"], 2, None),
    (["pack", "-o", "-", "--format", "tar"], 2, None),
    (["pack", "--nonsense"], 2, None),
    (["nonsense"], 2, None),
]


@pytest.mark.parametrize(("words", "code", "text"), BAD_WORDS, ids=lambda value: str(value)[:40])
def test_bad_words_get_one_sentence(
    fake: FakeEnvironment, call: Call, words: list[str], code: int, text: str | None
) -> None:
    """Exit 1 or 2, one error line, nothing on stdout and nothing left behind."""
    write(fake.project / "taken.tar.gz", "x")
    write(fake.project / "folder.tar.gz/file", "x")
    write(fake.project / "folder/file", "x")
    before = listing(fake.project)
    got = call(*words)
    assert (got.code, got.out) == (code, "")
    assert re.fullmatch(r"error: [^\n]*[^.\n]\n(hint: [^\n]*[^.\n]\n)?", got.err)
    if text is not None:
        assert got.err == text
    assert listing(fake.project) == before
    assert (fake.project / "taken.tar.gz").read_text() == "x"


def test_force_overwrites(fake: FakeEnvironment, call: Call) -> None:
    """-f replaces an archive, and a directory that envpack wrote."""
    for name, words in (("env.tar.gz", ()), ("env", ("--format", "dir"))):
        assert call("pack", "-q", "-o", name, *words).code == 0
        assert call("pack", "-q", "-o", name, *words).code == 1
        assert call("pack", "-q", "-f", "-o", name, *words).code == 0
    assert listing(fake.project) == [".venv", "env", "env.tar.gz", "pyproject.toml"]


@pytest.mark.parametrize("form", ["tar.gz", "tar.zst", "tar", "zip", "dir"])
def test_an_output_inside_the_environment_never_packs_itself(
    fake: FakeEnvironment, call: Call, form: str
) -> None:
    """Neither the archive being written nor the one it replaces."""
    out = fake.root / ("out" if form == "dir" else f"out.{form}")
    digests = []
    for _ in range(2):
        got = call("pack", "-f", "--json", "--format", form, "-o", str(out))
        report = json.loads(got.out)
        digests.append(report["digest"])
        assert {"reason": "the output itself", "files": 1, "bytes": 0} in report["left_out"]
    assert digests[0] == digests[1]


def test_the_modes_are_for_everybody(fake: FakeEnvironment, call: Call) -> None:
    """The archive's own mode follows the umask."""
    old = os.umask(0o027)
    try:
        assert call("pack", "-q", "-o", "env.tar.gz").code == 0
    finally:
        os.umask(old)
    assert os.stat("env.tar.gz").st_mode & 0o777 == 0o640


def test_source_date_epoch_is_the_mtime(
    fake: FakeEnvironment, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One time for every member; a wrong value is refused."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert call("pack", "-q", "-o", "env.tar.gz").code == 0
    with tarfile.open("env.tar.gz") as archive:
        assert {member.mtime for member in archive} == {1700000000}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "9" * 20)
    assert call("pack", "-q", "-o", "two.tar.gz").code == 2
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert call("pack", "-q", "-o", "two.tar.gz") == Result(
        2, "", "error: SOURCE_DATE_EPOCH is `yesterday`, which is no number of seconds\n"
    )


def test_strict_fails_on_a_leak_and_leaves_nothing(fake: FakeEnvironment, call: Call) -> None:
    """Exit 3, the leak named, no output."""
    fake.add("etc/tool.conf", f"data = {fake.root}/share\n")
    code, out, err = call("pack", "--strict", "-o", "env.tar.gz")
    assert (code, out) == (3, "")
    assert tidy(err) == (
        "packing 21 files, <size>\n"
        "  `etc/tool.conf` still names `<tmp>/project`\n"
        "  `etc/tool.conf` still names `<tmp>/project/.venv`\n"
        "error: not packed, as --strict was given: `etc/tool.conf` still names `<tmp>/project`,"
        " and 1 more\n"
    )
    assert listing(fake.project) == [".venv", "pyproject.toml"]
    code, out, err = call("pack", "-o", "env.tar.gz")
    assert code == 0
    assert "  leak      etc/tool.conf names <tmp>/project/.venv\n" in err


def test_a_script_that_needs_path_is_told(fake: FakeEnvironment, call: Call) -> None:
    """A header would say less than its own first line does."""
    fake.add("bin/tool", "#!/usr/bin/env -S -C / python3 -u\npass\n", mode=0o755)
    code, _, err = call("pack", "--strict", "-o", "env.tar.gz")
    assert code == 3
    assert err.splitlines()[-1] == (
        "error: not packed, as --strict was given: `bin/tool` still names `python3, found by PATH`"
    )
    code, _, err = call("pack", "-o", "env.tar.gz")
    assert (code, "  leak      bin/tool names python3, found by PATH\n" in err) == (0, True)


def test_a_glob_that_matches_nothing_is_told(fake: FakeEnvironment, call: Call) -> None:
    """A word that was mistyped leaves nothing out; what stays out anyway is matched too."""
    fake.add("share/doc/a.txt", "x")
    words = ["--exclude", "*/doc/*", "--exclude", "shares/*", "--include", "*/a.txt"]
    words += ["--include", "*.gz", "--exclude", "*/activate.csh"]
    code, _, err = call("pack", "-o", "env.tar.gz", *words)
    assert code == 0
    assert [line for line in err.splitlines() if "matches" in line] == [
        "warning: `--exclude shares/*` matches no file",
        "warning: `--include *.gz` matches no file",
    ]


def test_strict_holds_for_a_dry_run(fake: FakeEnvironment, call: Call, tmp_path: Path) -> None:
    """What the plan already shows is found without writing."""
    (fake.root / "share").mkdir()
    (fake.root / "share/data").symlink_to(write(tmp_path / "data", "x"))
    assert call("pack", "--dry-run", "-q", "--strict").code == 3
    assert call("pack", "--dry-run", "-q").code == 0


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell's lines in which $ENVPACK is the command."""
    path = os.pathsep.join(path for path in sys.path if path)
    env = {**os.environ, "PYTHONPATH": path, "ENVPACK": f"{sys.executable} -m envpack"}
    env.pop("PYTHONUNBUFFERED", None)  # what stays in a buffer fails later
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("end", "why"), [(">/dev/full", "No space left on device"), (">&-", "stdout is closed")]
)
def test_a_name_that_cannot_be_printed(fake: FakeEnvironment, end: str, why: str) -> None:
    """One sentence says so, and that the archive is there all the same."""
    done = shell(f"$ENVPACK pack -q -o env.tar {end}", fake.project)
    also = "`env.tar` is finished and stays"
    assert (done.returncode, done.stderr) == (1, f"error: cannot print the result: {why}; {also}\n")
    with tarfile.open(fake.project / "env.tar") as archive:
        assert "bin/python" in archive.getnames()


@pytest.mark.parametrize("words", ["--help", "pack --help", "cache --help", "--version"])
def test_help_that_cannot_be_printed(fake: FakeEnvironment, words: str) -> None:
    """A full disk under stdout is no fault of envpack's, whoever prints."""
    for unbuffered in ("", "1"):
        done = shell(f"PYTHONUNBUFFERED={unbuffered} $ENVPACK {words} >/dev/full", fake.project)
        said = "error: cannot print the result: No space left on device\n"
        assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize("words", ["{}", "pack --jobs {}", "pack --format {}", "pack {}"])
def test_no_login_in_a_message(call: Call, words: str) -> None:
    """Not even where the command line itself is wrong."""
    result = call(*words.format("https://u:hunter2@example.org/x").split())
    assert result.code in {1, 2}
    assert "example.org" in result.err
    assert "hunter2" not in result.out + result.err


def test_a_reader_that_went_away_is_no_failure(fake: FakeEnvironment) -> None:
    """`| head` wants no more: the archive is there, and the exit code says so."""
    script = """
        { $ENVPACK pack -v -o env.tar; echo $? >code; } 2>&1 | true
        { $ENVPACK pack -f -q -o env.tar; echo $? >>code; } | true
        { $ENVPACK --help; echo $? >>code; } | true
        { $ENVPACK pack --json --dry-run; echo $? >>code; } | true
        cat code
    """
    done = shell(script, fake.project)
    assert (done.stdout, done.stderr) == ("0\n" * 4, "")
    assert listing(fake.project) == [".venv", "code", "env.tar", "pyproject.toml"]


@pytest.mark.smoke
@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-", ">/dev/full 2>&-", "2>/dev/full"])
def test_closed_files_change_nothing_else(fake: FakeEnvironment, closed: str) -> None:
    """Whatever of the three files is missing, the archive is what it would be with them."""
    assert shell("$ENVPACK pack -q -o good.tar", fake.project).returncode == 0
    done = shell(f"$ENVPACK pack -v -o env.tar {closed}", fake.project)
    assert done.returncode == (1 if ">/dev/full 2>&-" in closed else 0)
    names = ("good.tar", "env.tar")
    good, env = ((fake.project / name).read_bytes() for name in names)
    assert env == good


def test_strict_passes_a_clean_environment(fake: FakeEnvironment, call: Call) -> None:
    """Nothing to find in six."""
    assert call("pack", "-q", "--strict", "-o", "env.tar.gz").code == 0


def test_strict_fails_on_a_link_that_left(
    fake: FakeEnvironment, call: Call, tmp_path: Path
) -> None:
    """The file is packed by default, and refused when strict."""
    (fake.root / "share").mkdir()
    (fake.root / "share/data").symlink_to(write(tmp_path / "data", "x"))
    got = call("pack", "-q", "--strict", "-o", "env.tar.gz")
    assert got.code == 3
    assert "`share/data` is a link to `<tmp>/data`" in got.err
    got = call("pack", "-o", "env.tar.gz")
    assert got.code == 0
    assert "  outside   share/data is a link to <tmp>/data\n" in got.err


def test_names_that_differ_by_case_are_a_warning_in_zip(fake: FakeEnvironment, call: Call) -> None:
    """Linux keeps both; elsewhere one would be lost."""
    fake.add("share/terminfo/e/Eterm", "x")
    fake.add("share/terminfo/E/Eterm", "x")
    got = call("pack", "-o", "env.zip")
    assert got.code == 0
    assert got.err.splitlines()[-1] == (
        "warning: names differ only by case, `share/terminfo/E/Eterm` and"
        " `share/terminfo/e/Eterm`: unpacked on Windows or macOS one of each pair is lost"
    )
    assert "warning" not in call("pack", "-o", "env.tar.gz").err


def test_a_file_that_changes_is_refused(
    fake: FakeEnvironment, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between plan and stream, whether it grows, shrinks or goes."""
    from envpack import packing, plan

    real = plan.make_plan
    path = fake.site / "six.py"

    def planned(change: Callable[[], object]) -> None:
        def late(*args: object, **kwargs: object) -> object:
            made = real(*args, **kwargs)  # type: ignore[arg-type]
            change()
            return made

        monkeypatch.setattr(packing, "make_plan", late)

    for change, verb in ((lambda: path.write_text("y"), "changed"), (path.unlink, "vanished")):
        planned(change)
        assert call("pack", "-q", "-o", "env.tar.gz") == Result(
            1,
            "",
            f"error: `<tmp>/project/.venv/{SITE}/six.py` {verb} while it was packed\n"
            "hint: let installs and syncs end, then pack again\n",
        )
        assert listing(fake.project) == [".venv", "pyproject.toml"]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and drops rights: needs root")


def in_namespace(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace of its own; ENVPACK is the command line."""
    command, what = needed("unshare", "a disk that is full or read-only"), "mounting one"
    needed("mount", what), needed("setpriv", what)
    tried = subprocess.run([command, "-m", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:  # as in a container without CAP_SYS_ADMIN
        pytest.skip(f"no mount namespace may be made here: {tried.stderr.strip()}")
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "ENVPACK": f"{sys.executable} -c 'from envpack.cli import main; main()'",
    }
    return subprocess.run(
        [command, "-m", "sh", "-euc", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=env,
    )


@pytest.mark.smoke
@needs_root
@pytest.mark.parametrize("form", ["tar.gz", "tar.zst", "tar", "zip", "dir"])
def test_a_full_disk_leaves_nothing(fake: FakeEnvironment, form: str) -> None:
    """On a file system of 64 kB: one sentence, exit 1, an empty folder."""
    fake.add("share/big", os.urandom(200_000))
    script = f"""
        mkdir small && mount -t tmpfs -o size=64k none small
        code=0; eval "$ENVPACK pack -q --format {form} -o small/env" || code=$?
        echo "$code"; ls -A small
    """
    done = in_namespace(script, fake.project)
    assert done.stdout == "1\n"
    assert done.stderr == "error: cannot write `small/env`: No space left on device\n"


@needs_root
def test_a_read_only_folder_is_refused(fake: FakeEnvironment) -> None:
    """Root too cannot write there."""
    script = """
        mkdir fixed && mount -t tmpfs -o ro none fixed
        code=0; eval "$ENVPACK pack -q -o fixed/env.tar.gz" || code=$?
        echo "$code"
    """
    done = in_namespace(script, fake.project)
    assert done.stdout == "1\n"
    assert done.stderr == f"error: the folder `{fake.project}/fixed` is not writable\n"


@pytest.mark.smoke
@needs_root
def test_an_unreadable_file_is_refused(fake: FakeEnvironment) -> None:
    """Root without the right to read everything stands for any user."""
    (fake.site / "six.py").chmod(0)
    rights = "-dac_override,-dac_read_search"
    script = f"""
        code=0
        setpriv --bounding-set={rights} --inh-caps={rights} sh -c "$ENVPACK pack -q -o x.tar.gz" ||
            code=$?
        echo "$code"
    """
    done = in_namespace(script, fake.project)
    assert done.stdout == "1\n"
    assert done.stderr == f"error: cannot read `{fake.site}/six.py`: Permission denied\n"
    assert listing(fake.project) == [".venv", "pyproject.toml"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(fake: FakeEnvironment, number: signal.Signals) -> None:
    """Ctrl-C and kill in the middle of writing: one sentence, 130, no temporary file."""
    fake.add("share/big", os.urandom(60_000_000))
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from envpack.cli import main; main()",
            "pack",
            "-q",
            "-j",
            "1",
            "--compress-level",
            "9",
            "-o",
            "env.tar.gz",
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    deadline = time.monotonic() + 30
    while not list(fake.project.glob(".env.tar.gz.*.part")):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.005)
    child.send_signal(number)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert err.strip() == "error: interrupted; nothing was left behind"
    assert listing(fake.project) == [".venv", "pyproject.toml"]


def test_filters_keep_their_order(fake: FakeEnvironment, call: Call) -> None:
    """As typed, among each other: the last that fits decides."""
    words = ("pack", "-q", "-f", "-o", "env.tar")
    before = ("--exclude", "include/python3.12/patchlevel.h", "--include=*/patchlevel.h")
    after = ("--include", "*/patchlevel.h", "--exclude=include/python3.12/patchlevel.h")
    for options, there in ((before, True), (after, False)):
        assert call(*words, *options).code == 0
        with tarfile.open("env.tar") as archive:
            assert ("include/python3.12/patchlevel.h" in archive.getnames()) is there


@pytest.mark.parametrize("name", PRESETS)
def test_a_destination_gets_its_archive_and_its_lines(
    fake: FakeEnvironment, call: Call, name: str
) -> None:
    """Nothing that it brings itself, the lines to type, and no links but those that it keeps."""
    fake.install("pyspark", "4.0.0", {"pyspark/x.py": "", "../../../bin/pyspark": "#!/bin/sh\n"})
    fake.add("bin/spark-report", "#!/bin/sh\n")
    code, out, err = call("pack", "--for", name, "--no-compile", "-o", "my env.tar.gz")
    assert (code, out) == (0, "my env.tar.gz\n")
    fake_lines = [*PRESETS[name].usage.splitlines(), *PRESETS[name].notes]
    assert err.splitlines()[-len(fake_lines) - 1] == ""
    assert "my env.tar.gz" in err.split("\n\n")[-1]
    assert "{" not in PRESETS[name].usage.format(archive="", name="").replace('{"working', "")
    with tarfile.open("my env.tar.gz") as archive:
        links = [member.name for member in archive if member.islnk() or member.issym()]
        assert links == ([] if name in {"ray", "flink"} else ["lib/libpython3.12.so"])
        there = any("pyspark" in member.name for member in archive)
        assert "bin/spark-report" in archive.getnames(), "the user's own is nobody else's"
    assert there is not bool(PRESETS[name].brings)
    again = ("--no-compile", "--include", "*pyspark*", "-f", "--json")
    code, out, err = call("pack", "--for", name, *again)
    packages = [package["name"] for package in json.loads(out)["packages"]]
    assert packages == ["pyspark", "six"]


def test_a_destination_warns_of_what_does_not_fit(fake: FakeEnvironment, call: Call) -> None:
    """A format that it cannot unpack, and a package that it needs inside."""
    got = call("pack", "--for", "spark", "--no-compile", "-o", "env.tar.zst")
    assert got.code == 0
    assert (
        "warning: Spark and `tar.zst`: it does not unpack this format, but only copies the file\n"
    ) in got.err
    got = call("pack", "--for", "ray", "-o", "env.tar.gz")
    assert "warning: Ray needs `ray` in the environment, and it is not there\n" in got.err


def test_a_destination_warns_of_machines_that_are_too_old(
    fake: FakeEnvironment, call: Call
) -> None:
    """The report has the floor as versions, and names those it is above; nobody must have them."""
    wants = {"libc.so.6": ["GLIBC_2.36", "GLIBC_2.4"]}
    fake.add(f"{SITE}/fast.so", shared_object(["libc.so.6"], versions=wants))
    words = ("pack", "--no-compile", "--strict", "--json", "-f", "-o", "env.tar.gz", "--for")
    report = json.loads(call(*words, "spark").out)
    assert report["libraries"]["glibc"] == {"version": "2.36", "file": f"{SITE}/fast.so"}
    assert report["libraries"]["glibcxx"] is None
    assert report["warnings"] == [
        f"the archive needs glibc 2.36 (`{SITE}/fast.so`), so it does not run on"
        " apache/spark:3.5.6 (Ubuntu 20.04, glibc 2.31), apache/spark:4.1.1 (Ubuntu 22.04,"
        " glibc 2.35)"
    ]
    assert report["findings"] == []
    (warning,) = json.loads(call(*words, "dataproc").out)["warnings"]
    assert warning.endswith("does not run on Dataproc 2.1 (Debian 11, glibc 2.31)")
    assert json.loads(call(*words, "hadoop-streaming").out)["warnings"] == []


COMPILING = ("spark", "emr", "dataproc")
NO_BYTECODE = (
    "bytecode cannot be compiled: the packed Python 3.12 is for linux-aarch64-gnu and does not run"
    " here, and no other Python 3.12 with the same magic number was found"
)


def bytecode_in(archive: str) -> list[str]:
    """Return the names of the bytecode in an archive."""
    with tarfile.open(archive) as members:
        return [name for name in members.getnames() if name.endswith(".pyc")]


@pytest.mark.parametrize("name", PRESETS)
def test_a_destination_may_ask_for_bytecode(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Spark's do, the others do not, and `--compile` or `--no-compile` outvotes both."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    fake = make_environment(tmp_path, version=f"{minor}.1")
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
    source = fake.prefix / f"lib/python{minor}/importlib/_bootstrap_external.py"
    write(source, f"MAGIC_NUMBER = ({magic}).to_bytes(2, 'little')\n")
    monkeypatch.chdir(fake.project)
    answers = {}
    for word in ("", "--compile", "--no-compile"):
        words = ("pack", "--for", name, "-f", "-q", "-o", "env.tar", *filter(None, [word]))
        assert call(*words).code == 0
        answers[word] = bool(bytecode_in("env.tar"))
    assert answers == {"": name in COMPILING, "--compile": True, "--no-compile": False}


def test_bytecode_that_only_a_destination_asks_for_may_be_missing(
    fake: FakeEnvironment, call: Call
) -> None:
    """A warning if no Python here can make it; with `--compile` a refusal, nothing written."""
    write(fake.prefix / "bin/python3.12", elf(machine=183), 0o755)
    text = f"{NO_BYTECODE}; without bytecode Spark starts more slowly"
    code, out, err = call("pack", "--for", "spark", "-o", "env.tar.gz")
    assert (code, out) == (0, "env.tar.gz\n")
    assert f"\nwarning: {text}\n" in err
    assert bytecode_in("env.tar.gz") == []
    code, out, _ = call("pack", "--for", "spark", "--strict", "--json", "-f", "-o", "env.tar.gz")
    assert (code, json.loads(out)["warnings"]) == (0, [text])
    os.unlink("env.tar.gz")
    assert call("pack", "--for", "spark", "--compile", "-o", "env.tar.gz") == Result(
        1,
        "",
        f"error: {NO_BYTECODE}\nhint: put a `python3.12` on the PATH, or pack without --compile\n",
    )
    assert listing(fake.project) == [".venv", "pyproject.toml"]


@pytest.mark.smoke
def test_the_version_and_help_are_short(call: Call) -> None:
    """Version on stdout; help names every option of pack."""
    code, out, _ = call("--version")
    assert code == 0
    assert re.fullmatch(r"envpack \d+\.\d+\.\d+(\.dev\d+(\+g[0-9a-f]{10})?)?\n", out)
    assert "--with-uv" in call("pack", "--help").out


def test_a_library_found_nowhere(call: Call, fake: FakeEnvironment, tmp_path: Path) -> None:
    """It is packed and named with the file that wants it; --strict refuses and leaves no OUT."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    (tmp_path / "gone.c").write_text("int gone(void) { return 1; }\n")
    (tmp_path / "own.c").write_text("int gone(void); int own(void) { return gone(); }\n")
    library, own = tmp_path / "libgone.so.1", fake.site / "own.so"
    flags = [compiler, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libgone.so.1"]
    subprocess.run([*flags, "-o", library, tmp_path / "gone.c"], check=True)
    flags = [compiler, "-shared", "-fPIC", "-nostdlib"]
    subprocess.run([*flags, "-o", own, tmp_path / "own.c", library], check=True)
    library.unlink()
    result = call("pack", "-o", "out.tar")
    lines = [line for line in result.err.splitlines() if "gone" in line]
    assert result.code == 0
    assert lines == [f"  missing   libgone.so.1, wanted by {SITE}/own.so"]
    (fake.project / "out.tar").unlink()
    result = call("pack", "-o", "out.tar", "--strict")
    assert (result.code, result.out) == (3, "")
    assert tidy(result.err) == (
        f"packing 21 files, <size>\n  `{SITE}/own.so` wants `libgone.so.1`, found nowhere\n"
        f"error: not packed, as --strict was given: `{SITE}/own.so` wants `libgone.so.1`, found"
        " nowhere\n"
    )
    assert not (fake.project / "out.tar").exists()


def test_libraries_that_the_other_machine_must_have(call: Call, fake: FakeEnvironment) -> None:
    """Beyond the C library's family each is a line without -v, and a finding; so is a folder."""
    needed = ["libGL.so.1", "libstdc++.so.6", "libc.so.6"]
    (fake.site / "own.so").write_bytes(shared_object(needed, runpath="/opt/vendor/lib:/usr/lib64"))
    result = call("pack", "-o", "out.tar")
    assert result.code == 0
    lines = [line for line in result.err.splitlines() if "own.so" in line]
    assert lines == [
        f"  host      libGL.so.1, wanted by {SITE}/own.so",
        f"  host      libstdc++.so.6, wanted by {SITE}/own.so",
        f"  leak      {SITE}/own.so names /opt/vendor/lib",
    ]
    result = call("pack", "-v", "-f", "-o", "out.tar")
    assert f"  host      libc.so.6, wanted by {SITE}/own.so" in result.err.splitlines()
    result = call("pack", "-f", "-o", "strict.tar", "--strict", "--json")
    assert result.code == 3
    assert json.loads(result.out)["findings"] == [
        f"`{SITE}/own.so` still names `/opt/vendor/lib`",
        f"`{SITE}/own.so` wants `libGL.so.1`, which is left to the other machine",
        f"`{SITE}/own.so` wants `libstdc++.so.6`, which is left to the other machine",
    ]
    assert not (fake.project / "strict.tar").exists()


def test_a_python_that_starts_nowhere_else(call: Call, fake: FakeEnvironment) -> None:
    """python itself is refused where its loader is this machine's, and cannot be named anew."""
    (fake.prefix / "bin/python3.12").write_bytes(shared_object(["libc.so.6"], loader=b"/x/ld.so\0"))
    assert call("pack", "-o", "out.tar") == (
        1,
        "",
        "error: `bin/python` is started by `/x/ld.so`, which no other machine has\n"
        "hint: give a Python that is started by the system's own loader with --python\n",
    )
    assert not (fake.project / "out.tar").exists()
    old = b"/nix/store/0c7qr2-glibc-2.40/lib/ld-linux-x86-64.so.2\0"
    (fake.prefix / "bin/python3.12").write_bytes(shared_object(["libc.so.6"], loader=old))
    edits = json.loads(call("pack", "--json", "-o", "out.tar").out)["edits"]
    assert edits["ELF interpreter"] == 3  # under each of its names
