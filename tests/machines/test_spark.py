"""The proof of a pack on Spark: a real cluster whose executors have no Python but the pack's."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .lab.interpreters import uv_environment
from .lab.missing import require
from .lab.sandbox import USER
from .lab.session import Lab
from .lab.spark import SPARK, WORK, Cluster, Submitted, cluster
from .lab.spark_machine import JAVA_HOME, executor_root, pythons, spark_home, unpackers
from .lab.tools import call, tool, uv_program
from .packs import envpack

pytestmark = pytest.mark.xdist_group("spark")

HERE = Path(__file__).parent
TOP = HERE.parents[1]
PAGES = ("README.md", "docs/destinations.md")
JOB = HERE / "jobs/pandas_job.py"
LINE = (
    "PYSPARK_DRIVER_PYTHON=python PYSPARK_PYTHON=./environment/bin/python"
    " spark-submit --archives env.tar.gz#environment app.py"
)
"""The line of the documentation."""

IN_CODE = (
    'os.environ["PYSPARK_PYTHON"] = "./environment/bin/python"',
    'SparkSession.builder.config("spark.archives", "env.tar.gz#environment")',
)
"""Its other way, in the job itself, which also knows it."""

MINOR = "3.12"
FOREIGN = "/foreign"
HOSTILE = {"spark.executorEnv.LD_LIBRARY_PATH": FOREIGN}
BUNDLE = "--bundle-libs"
NEEDED = ("numpy", "pandas", "pyarrow")
VENV_PACK = "venv-pack==0.2.0"
ROWS = 1000
SYSTEM = {
    *("ld-linux-x86-64", "libc", "libdl", "libm", "libpthread", "libresolv", "librt", "libutil"),
    *("libcrypt", "libgcc_s", "libstdc++", "libz"),
}
"""The libraries that a pack leaves to the machine: what manylinux expects there."""
PROJECT = f"""\
[project]
name = "job"
version = "1.0"
requires-python = ">=3.12"
dependencies = {json.dumps(NEEDED)}

[tool.uv]
package = false
"""


@dataclass(frozen=True)
class Pack:
    """An archive, and the lines that `--for spark` prints."""

    archive: Path
    usage: str


@dataclass(frozen=True)
class Job:
    """A synced project of a job, its environment, and the variables its user has."""

    root: Path
    variables: dict[str, str]

    @property
    def env(self) -> Path:
        """Return the environment."""
        return self.root / ".venv"

    def pack(self, to: Path, *options: str) -> Pack:
        """Pack the environment by the command line, without its packages' own tests."""
        words: list[str | Path] = ["pack", self.env, "-o", to.name, "--for", "spark"]
        words += ["--json", "--compress-level", "1", "--exclude", "*/tests/*", *options]
        report = json.loads(envpack(words, env=self.variables, cwd=to.parent))
        return Pack(to, "\n".join(report["usage"]))


def sync(root: Path, python: Path | str, variables: dict[str, str]) -> Job:
    """Let uv make the job's environment on an interpreter."""
    root.mkdir()
    (root / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    call([uv_program(), "sync", "--python", python], cwd=root, env=variables)
    return Job(root, variables)


@pytest.fixture(scope="module")
def folder(work: Path) -> Path:
    """Give the folder of all that these tests make, on the file system of the cache."""
    made = work / "spark"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def foreign(lab: Lab, folder: Path) -> Path:
    """Give a folder with another build's libpython of the same name."""
    name = f"libpython{MINOR}.so.1.0"
    there = folder / "foreign"
    there.mkdir()
    shutil.copyfile(lab.pyenv(MINOR).prefix / "lib" / name, there / name)
    return there


@pytest.fixture(scope="module")
def spark(folder: Path, foreign: Path) -> Iterator[Cluster]:
    """Give the one cluster of all tests here."""
    require(executor_root)
    require(spark_home)
    context = cluster(folder / "cluster", {FOREIGN: foreign})
    made = require(context.__enter__)
    try:
        yield made
    finally:
        context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def managed_job(lab: Lab, folder: Path) -> Job:
    """Give the job's environment on the Python that uv manages."""
    python = lab.managed(MINOR)
    return sync(folder / "job", MINOR, uv_environment(python.install_dir))


@pytest.fixture(scope="module")
def managed_pack(managed_job: Job, folder: Path) -> Pack:
    """Give its pack."""
    return managed_job.pack(folder / "env.tar.gz")


@pytest.fixture(scope="module")
def pyenv_job(lab: Lab, folder: Path) -> Job:
    """Give the job's environment on an own build of Python, one that links its system's files."""
    python = lab.pyenv(MINOR)
    variables = uv_environment(folder / "none", {"UV_PYTHON_DOWNLOADS": "never"})
    del variables["UV_MANAGED_PYTHON"]
    return sync(folder / "own", python.executable, variables)


def run(
    spark: Cluster,
    job: Job,
    archive: Path,
    cwd: Path,
    *,
    line: str = LINE,
    settings: dict[str, str] | None = None,
) -> Submitted:
    """Type the documentation's line, the result's file added, where the archive is."""
    os.link(archive, cwd / "env.tar.gz")
    shutil.copyfile(JOB, cwd / "app.py")
    return spark.submit(f"{line} result.json", cwd=cwd, environment=job.env, settings=settings)


def check(cwd: Path, library_path: str | None = None) -> None:
    """Assert what a job found on its executors."""
    found: dict[str, Any] = json.loads((cwd / "result.json").read_text(encoding="utf-8"))
    assert found["map"]["total"] == sum(range(ROWS))
    assert found["udf"]["total"] == sum(number * number for number in range(ROWS))
    for kind in ("map", "udf"):
        executors = [json.loads(text) for text in found[kind]["where"]]
        assert len(executors) == 2, kind
        machines = {one["machine"] for one in executors}
        assert len(machines) == 2, "both tasks ran on one executor"
        assert os.readlink("/proc/self/ns/mnt") not in machines
        for one in executors:
            place = f"{one['cwd']}/environment"
            assert place.startswith(f"{WORK}/app-")
            assert one["executable"].startswith(f"{place}/bin/python")
            assert one["prefix"] == one["base_prefix"] == place
            assert ".".join(map(str, one["version"])) == MINOR
            assert one["uid"] == USER
            assert one["python3"] is None
            assert one["user_site"] is False
            assert one["library_path"] == library_path
            libpython = [path for path in one["libraries"] if "libpython" in path]
            assert libpython == [f"{place}/lib/libpython{MINOR}.so.1.0"]
            outside = [path for path in one["libraries"] if not path.startswith(place)]
            assert {Path(path).name.split(".so")[0] for path in outside} <= SYSTEM
            site = f"{place}/lib/python{MINOR}/site-packages"
            assert one["modules"] == {name: f"{site}/{name}/__init__.py" for name in NEEDED}
            assert one["pyspark"].startswith(f"{SPARK}/python/lib/pyspark.zip/")


def test_the_executors_machine_has_no_python(spark: Cluster) -> None:
    """No file of that name in it, and none on PATH; what unpacks is Debian's gzip and tar."""
    assert pythons(spark.sandbox, spark.seen()) == []
    planted = {"/srv/bin/python3.12": Path(sys.executable).resolve()}
    assert pythons(spark.sandbox, planted) == list(planted)
    done = spark.sandbox.run(["bash", "-c", "python3 -c 1; tar --version; gzip --version"])
    assert "python3: command not found" in done.stderr
    assert "tar (GNU tar)" in done.stdout


def test_the_job_runs_on_both_executors(
    spark: Cluster, managed_job: Job, managed_pack: Pack, tmp_path: Path
) -> None:
    """The documentation's line, with a Python that uv manages."""
    done = run(spark, managed_job, managed_pack.archive, tmp_path)
    assert done.code == 0, str(done)
    check(tmp_path)


def test_a_foreign_libpython_is_not_loaded(
    spark: Cluster, managed_job: Job, managed_pack: Pack, tmp_path: Path
) -> None:
    """LD_LIBRARY_PATH of the executors, as YARN and CUDA set it; the archive is named in code."""
    line = "spark-submit app.py --in-code"
    done = run(spark, managed_job, managed_pack.archive, tmp_path, line=line, settings=HOSTILE)
    assert done.code == 0, str(done)
    check(tmp_path, FOREIGN)


def test_the_job_runs_on_an_own_build_of_python(
    spark: Cluster, pyenv_job: Job, folder: Path, tmp_path: Path
) -> None:
    """It links libssl and others of the build's machine; a foreign libpython is there too."""
    if BUNDLE not in envpack(["pack", "--help"], env=pyenv_job.variables, cwd=folder):
        pytest.skip(f"this envpack has no {BUNDLE} yet")
    pack = pyenv_job.pack(folder / "own.tar.gz", BUNDLE, "auto")
    done = run(spark, pyenv_job, pack.archive, tmp_path, settings=HOSTILE)
    assert done.code == 0, str(done)
    check(tmp_path, FOREIGN)


def test_the_foreign_libpython_would_be_loaded(
    spark: Cluster, managed_pack: Pack, tmp_path: Path
) -> None:
    """The check above can fail: with RUNPATH in place of RPATH the foreign one wins."""
    call([tool("tar"), "-xzf", managed_pack.archive, "-C", tmp_path, "--exclude=*/site-packages"])
    script = "print(*{line.split()[-1] for line in open('/proc/self/maps') if 'libpy' in line})"

    def loaded() -> str:
        done = spark.sandbox.run(
            ["/env/bin/python", "-S", "-c", script],
            binds={"/env": tmp_path, FOREIGN: spark.binds[FOREIGN]},
            env={"LD_LIBRARY_PATH": FOREIGN},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert loaded() == f"/env/lib/libpython{MINOR}.so.1.0"
    patchelf = require(tool, "patchelf")
    call([patchelf, "--set-rpath", "$ORIGIN/../lib", tmp_path / "bin/python"])
    assert loaded() == f"{FOREIGN}/libpython{MINOR}.so.1.0"


@pytest.mark.parametrize("name", ["raw", "venv-pack"])
def test_other_archives_have_no_interpreter(
    spark: Cluster, lab: Lab, managed_job: Job, tmp_path: Path, name: str
) -> None:
    """The environment as it is, and what venv-pack makes of it: a link to no Python there."""
    env = lab.project("c", MINOR).env
    archive = tmp_path / "made.tar.gz"
    if name == "raw":
        call([tool("tar"), "-czf", archive, "-C", env, "."])
    else:
        words = [uv_program(), "tool", "run", "--from", VENV_PACK, "--with", "setuptools<81"]
        words += ["venv-pack", "-p", str(env), "-o", str(archive), "--quiet"]
        call(words, env=managed_job.variables, cwd=tmp_path)
    done = run(spark, managed_job, archive, tmp_path)
    assert done.code == 1, str(done)
    assert 'Cannot run program "./environment/bin/python"' in done.output, str(done)
    assert "error=2, No such file or directory" in done.output, str(done)
    assert not (tmp_path / "result.json").exists()


def test_users_are_told_this_line(managed_pack: Pack) -> None:
    """What runs here is what the documentation and `--for spark` say."""
    pages = {name: (TOP / name).read_text(encoding="utf-8") for name in PAGES}
    for name, text in {**pages, "--for spark": managed_pack.usage}.items():
        assert LINE in re.sub(r"\\\n *", "", text).replace("../env.tar.gz", "env.tar.gz"), name
    for line in IN_CODE:
        assert line in managed_pack.usage
        assert line in pages["docs/destinations.md"]


@pytest.fixture(scope="module")
def classes(folder: Path) -> Path:
    """Give the compiled callers of Spark's unpacker and of YARN's."""
    return require(unpackers, require(spark_home), folder / "classes")


UNPACKED = {
    "tar.gz": (0, f"{WORK}/environment", ""),
    "tgz": (0, f"{WORK}/environment", ""),
    "zip": (0, f"{WORK}/environment", ""),
    "tar": (126, "", "Permission denied"),
    "tar.zst": (126, "", "Not a directory"),
}
"""Exit code, output and error of the Python that Spark's unpacker made of each format."""


@pytest.mark.parametrize("suffix", UNPACKED)
def test_what_sparks_unpacker_makes_of_each_format(
    spark: Cluster, lab: Lab, classes: Path, tmp_path: Path, suffix: str
) -> None:
    """Only tar.gz and zip become a Python; a tar has no executable bits, a tar.zst is copied."""
    there = unpacking(spark, lab, classes, tmp_path, suffix)
    done = there(f"Unpack /env.{suffix} {WORK}/environment")
    assert done.returncode == 0, done.stderr
    assert ("just copying it" in done.stderr) == (suffix == "tar.zst")
    done = there("./environment/bin/python -c 'import rich, sys; print(sys.prefix)'")
    code, out, error = UNPACKED[suffix]
    assert (done.returncode, done.stdout.strip()) == (code, out), done.stderr
    assert error in done.stderr
    if code == 0:
        assert is_one(there, f"{WORK}/environment") == (suffix != "zip")


@pytest.mark.parametrize("suffix", UNPACKED)
def test_what_yarns_localiser_makes_of_each_format(
    spark: Cluster, lab: Lab, classes: Path, tmp_path: Path, suffix: str
) -> None:
    """All but tar.zst become a Python; each file is executable, and none can be written."""
    there = unpacking(spark, lab, classes, tmp_path, suffix)
    done = there(f"Localise /env.{suffix} {WORK}/local")
    assert done.returncode == 0, done.stderr
    made = done.stdout.splitlines()[-1]
    done = there(f"busybox find {made} -type f -perm /222 -o -type f ! -perm -500")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    done = there(f"{made}/bin/python -c 'import rich, sys; print(sys.prefix)'")
    if suffix == "tar.zst":
        assert (done.returncode, "Not a directory" in done.stderr) == (126, True)
        return
    assert (done.returncode, done.stdout.strip()) == (0, made), done.stderr
    assert is_one(there, made) == (suffix != "zip")


def is_one(there: Callable[[str], subprocess.CompletedProcess[str]], place: str) -> bool:
    """Say whether two names of a library are one file still, as in the archive."""
    lib = f"{place}/lib/libpython{MINOR}.so"
    done = there(f"[[ -s {lib} && -s {lib}.1.0 ]] || exit 2; [[ {lib} -ef {lib}.1.0 ]]")
    assert done.returncode in {0, 1}
    return done.returncode == 0


def unpacking(
    spark: Cluster, lab: Lab, classes: Path, place: Path, suffix: str
) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Pack a project and return what runs a line on a Worker's machine, where the archive is /env.

    A line that starts with the name of a class of `classes` runs Java.
    """
    project = lab.project("c", MINOR)
    archive = place / f"env.{suffix}"
    words: list[str | Path] = ["pack", project.env, "-o", archive]
    envpack(words, env=uv_environment(project.python.install_dir), cwd=project.base)
    work = place / "place"
    work.mkdir()
    if os.geteuid() == 0:
        os.chown(work, USER, USER)
    java = f'{JAVA_HOME}/bin/java -cp "/classes:{SPARK}/jars/*"'

    def there(line: str) -> subprocess.CompletedProcess[str]:
        called = line.split(maxsplit=1)[0] in {"Unpack", "Localise"}
        return spark.sandbox.run(
            ["bash", "-c", f"{java} {line}" if called else line],
            binds={"/classes": classes, f"/{archive.name}": archive, **spark.seen()},
            writable={WORK: work},
            cwd=WORK,
            uid=USER,
        )

    return there
