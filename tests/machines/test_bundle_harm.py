"""What happens to a bundle, and to the machine meanwhile: it is installed whole, or not at all."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .bundles import Far, Near
from .lab.interpreters import Standalone, standalone, uv_environment
from .lab.missing import require
from .lab.sandbox import USER
from .lab.session import Lab
from .lab.tools import call, uv_program
from .packs import envpack

pytestmark = pytest.mark.xdist_group("bundle-harm")

MINOR = "3.13"
NAME = "plum.run"
PROJECT = f"""\
[project]
name = "plum"
version = "1.0"
requires-python = "=={MINOR}.*"
dependencies = ["humanize"]

[tool.uv]
package = false
"""
MAIN = "import humanize\nprint(humanize.intcomma(12345))\n"
RUN = 'sh "$1" p --python-dir pythons'
WORKS = "cd p && .envpack/bin/uv run --locked main.py"


@pytest.fixture(scope="module")
def project(lab: Lab, work: Path) -> Near:
    """Give a small project, whose bundle is not made yet."""
    folder = work / "plum"
    (folder / "project").mkdir(parents=True)
    (folder / "project/pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "project/main.py").write_text(MAIN, encoding="utf-8")
    env = uv_environment(lab.managed(MINOR).install_dir, {})
    call([uv_program(), "lock"], cwd=folder / "project", env=env)
    return Near(folder / "project", folder / "media" / NAME, env)


@pytest.fixture(scope="module")
def small(project: Near) -> Near:
    """Give its bundle without Python and uv, which is 20 kB."""
    path = project.bundle.parent.with_name("small") / NAME
    path.parent.mkdir()
    words = ["bundle", "-q", "--python", MINOR, "--no-python", "--no-uv", "-o", path]
    envpack([str(word) for word in words], env=project.environment, cwd=project.project)
    return Near(project.project, path, project.environment)


@pytest.fixture(scope="module")
def large(project: Near) -> Near:
    """Give its bundle with both."""
    python: Standalone = require(standalone, MINOR)
    project.bundle.parent.mkdir()
    words = ["bundle", "-q", "--python", MINOR, "--python-archive", str(python.archive)]
    envpack([*words, "-o", project.bundle], env=project.environment, cwd=project.project)
    return project


EACH = """
for file in /media/broken/*; do
    sh "$file" p > /tmp/out 2> /tmp/err
    code=$?
    [ "$code" -ne 0 ] && [ -s /tmp/err ] && [ ! -s /tmp/out ] || echo "$file: $code"
    [ "$(echo * .[!.]*)" = "home .[!.]*" ] || { echo "$file: left $(echo * .[!.]*)"; exit; }
done
find home -type f
echo done
"""


def test_every_flipped_byte_is_refused(small: Near, tmp_path: Path) -> None:
    """100 bytes anywhere, and 60 of the script: the install fails, says why, and leaves nothing."""
    data = small.bundle.read_bytes()
    chosen = random.Random(11)
    stub = data.index(b"\n__PAYLOAD__\n")
    places = [chosen.randrange(len(data)) for _ in range(100)]
    places += [chosen.randrange(stub) for _ in range(60)]
    folder = tmp_path / "media/broken"
    folder.mkdir(parents=True)
    for number, place in enumerate(places):
        bit = 1 << chosen.randrange(8)
        broken = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
        (folder / f"{number:03}-{place}-{bit}.run").write_bytes(broken)
    (tmp_path / "media" / NAME).write_bytes(data)
    far = Far("trixie", "python", tmp_path / "far", tmp_path / "media" / NAME, USER)
    assert far.sh(EACH).stdout == "done\n"


def test_every_cut_is_refused(small: Near, tmp_path: Path) -> None:
    """A file that ends early, in the script or in the archive, installs nothing."""
    data = small.bundle.read_bytes()
    chosen = random.Random(12)
    stub = data.index(b"\n__PAYLOAD__\n")
    ends = [chosen.randrange(20, stub) for _ in range(30)]
    ends += [chosen.randrange(stub, len(data)) for _ in range(30)]
    folder = tmp_path / "media/broken"
    folder.mkdir(parents=True)
    for end in ends:
        (folder / f"{end}.run").write_bytes(data[:end])
    (tmp_path / "media" / NAME).write_bytes(data)
    far = Far("trixie", "python", tmp_path / "far", tmp_path / "media" / NAME, USER)
    assert far.sh(EACH).stdout == "done\n"


def test_a_large_one(large: Near, tmp_path: Path) -> None:
    """The same of a bundle with Python and uv, in a machine with neither."""
    data = large.bundle.read_bytes()
    chosen = random.Random(7)
    (tmp_path / "media").mkdir()
    broken = tmp_path / "media" / NAME
    far = Far("bookworm", "std", tmp_path / "far", broken, None)
    cases = [(chosen.randrange(len(data)), True) for _ in range(4)]
    for position, flip in [*cases, (chosen.randrange(len(data)), False)]:
        flipped = bytes([data[position] ^ 1 << chosen.randrange(8)]) + data[position + 1 :]
        broken.write_bytes(data[:position] + (flipped if flip else b""))
        done = far.sh(RUN)
        assert done.returncode in {1, 3}, (position, done.stdout)
        assert done.stderr.startswith("error: "), done.stderr
        assert far.there() == []


def test_killed_at_any_point(large: Near, tmp_path: Path) -> None:
    """Twenty times the power fails; what has its name is whole, and the next run completes it."""
    far = Far("bookworm", "std", tmp_path, large.bundle, None)
    begin = time.monotonic()
    far.ok(RUN)
    whole = time.monotonic() - begin
    far.forget()
    chosen = random.Random(4)
    for number in range(20):
        process = subprocess.Popen(
            far.command(RUN), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(chosen.uniform(0, whole))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)  # and so all that it started: they die with it
            process.wait()
        if (tmp_path / "p").exists():
            assert (tmp_path / "p/.envpack/bundle.json").is_file()
            assert (tmp_path / "p/main.py").is_file()
        if (tmp_path / "p/.venv").exists():
            assert far.ok(f"{WORKS} --offline") == "12,345\n"
        if number % 7 == 6:
            far.forget()
    far.ok(RUN)
    assert far.ok(WORKS) == "12,345\n"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["home", "p", "pythons"]
    assert not [path for path in (tmp_path / "p").iterdir() if path.suffix in {".part", ".old"}]


FULL = """
cd /mnt && export HOME=/mnt/home && mkdir home
[ -z "$2" ] || dd if=/dev/zero of=fill bs=1024 count="$2" 2> /dev/null
sh "$1" p
code=$?
echo "$(ls -A)" | tr '\\n' ' '
exit $code
"""


def test_a_full_disk(large: Near, tmp_path: Path) -> None:
    """Told before anything is unpacked, or, where the disk fills meanwhile, in one sentence."""
    far = Far("bookworm", "std", tmp_path, large.bundle, None)
    size = 400 << 20
    command = far.command(FULL)
    at = command.index("--remount-ro")
    command[at:at] = ["--size", str(size), "--tmpfs", "/mnt"]
    told = []
    for free in (60, 140, 190, 390):
        words = [*command, str((size >> 10) - (free << 10))]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        told.append((done.returncode, done.stderr.strip()))
        if done.returncode:
            assert done.stderr.startswith("error: "), done.stderr
            assert done.stderr.count("\n") <= 2
            assert ".part" not in done.stdout
    assert told[0][0] == 1
    assert "has 59 MiB free" in told[0][1] or "has 60 MiB free" in told[0][1]
    assert "to unpack takes" in told[0][1]
    assert told[1][0] == 1
    assert told[-1] == (0, "")


def test_where_nothing_can_be_run(large: Near, tmp_path: Path) -> None:
    """A folder that is mounted noexec is named, before anything is unpacked there."""
    far = Far("bookworm", "std", tmp_path, large.bundle, None)
    script = 'mount -o remount,noexec /mnt && cd /mnt && sh "$1" p; ls -A /mnt'
    command = far.command(script)
    at = command.index("--remount-ro")
    command[at:at] = ["--tmpfs", "/mnt", "--cap-add", "CAP_SYS_ADMIN"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "", done.stdout
    assert done.stderr == (
        "error: nothing can be run in `/mnt`: it is mounted noexec, or full\n"
        "hint: choose another folder\n"
    )


def test_without_python_in_it(small: Near, large: Near, tmp_path: Path) -> None:
    """A far side with its own Python takes that; one without is told so."""
    folder = tmp_path / "media"
    folder.mkdir()
    path = folder / NAME
    words = ["bundle", "-q", "--python", MINOR, "--no-python", "-o", str(path)]
    envpack(words, env=small.environment, cwd=small.project)
    far = Far("trixie", "python", tmp_path / "own", path, USER)
    far.ok('sh "$1" p')
    assert far.ok(WORKS) == "12,345\n"
    assert far.ok("readlink -f p/.venv/bin/python") == "/usr/bin/python3.13\n"
    far = Far("trixie", "std", tmp_path / "none", path, USER)
    done = far.sh('sh "$1" p')
    assert done.returncode == 1
    assert done.stderr == "error: the bundle brings no Python, and there is no Python 3.13 here\n"
    assert far.there() == []
    assert path.stat().st_size < large.bundle.stat().st_size
    shutil.rmtree(folder)
