"""The page PySpark, followed line by line on a real cluster, and its table of errors."""

import re
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from .lab.interpreters import uv_environment
from .lab.missing import require
from .lab.session import Lab
from .lab.spark import WORK, Cluster, Submitted, cluster
from .lab.spark_machine import executor_root, spark_home
from .lab.tools import call, uv_program
from .packs import source_path

pytestmark = pytest.mark.xdist_group("spark")

PAGE = Path(__file__).parents[2] / "docs/pyspark.md"
TEXT = PAGE.read_text(encoding="utf-8")
MINOR = "3.12"
OTHER = "3.13"
CONNECT = "SPARK_REMOTE=sc://HOST"
MARK = "--- line"


@dataclass(frozen=True)
class Line:
    """A line to type, and the lines that the page shows below it."""

    typed: str
    shown: tuple[str, ...]


def blocks(language: str) -> list[str]:
    """Return the page's fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def lines() -> list[Line]:
    """Return what the page tells to type, in order."""
    found = []
    for block in blocks("console"):
        for part in ("\n" + block.replace("\\\n", "")).split("\n$ ")[1:]:
            typed, *shown = part.rstrip("\n").split("\n")
            found.append(Line(re.sub(" +", " ", typed), tuple(shown)))
    return found


def rows() -> list[tuple[str, ...]]:
    """Return, for each row of the table of errors, the texts of its first cell."""
    table = TEXT.partition("| text | cause |")[2].splitlines()[2:]
    cells = [line.split(" | ")[0] for line in table if line.startswith("| ")]
    return [tuple(re.findall(r"`([^`]+)`", cell)) for cell in cells]


@dataclass(frozen=True)
class User:
    """A data engineer: a folder, the variables, and what each line of the page answered."""

    folder: Path
    environment: Mapping[str, str]
    said: dict[str, Submitted]

    @property
    def project(self) -> Path:
        """Return the project that the page makes."""
        return self.folder / "orchard"


def program(folder: Path, name: str, words: list[str], variables: Mapping[str, str]) -> None:
    """Put a program on the user's PATH."""
    given = " ".join(f"{key}={shlex.quote(value)}" for key, value in variables.items())
    command = shlex.join(words)
    path = folder / name
    path.write_text(f'#!/bin/sh\n{given} exec {command} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture(scope="module")
def folder(work: Path) -> Path:
    """Give the folder of all that these tests make, on the file system of the cache."""
    made = work / "pyspark"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def spark(folder: Path) -> Iterator[Cluster]:
    """Give a cluster of this module's own."""
    require(executor_root)
    require(spark_home)
    context = cluster(folder / "cluster")
    made = require(context.__enter__)
    try:
        yield made
    finally:
        context.__exit__(None, None, None)


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def user(lab: Lab, spark: Cluster, folder: Path) -> User:
    """Give a user who has typed every line of the page, in one shell, up to Spark Connect's."""
    programs = folder / "programs"
    programs.mkdir()
    words = [sys.executable, "-c", "from envpack.cli import main; main()"]
    program(programs, "envpack", words, {"PYTHONPATH": source_path()})
    (programs / "uv").symlink_to(uv_program())
    home = folder / "user"
    home.mkdir()
    variables = uv_environment(lab.managed(MINOR).install_dir)
    environment = spark.variables(home, variables, programs)
    user = User(home, environment, {})
    script = ["set -e", f"cd {shlex.quote(str(home))}"]
    sources = {block.split("\n")[0].removeprefix("# "): block for block in blocks("python")}
    for number, line in enumerate(told := [one for one in lines() if CONNECT not in one.typed]):
        script += [f"echo '{MARK} {number}'", line.typed]
        if line.typed == "cd orchard":
            for name, source in sources.items():
                script.append(f"cat > {name} <<'END'\n{source}END")
    script.append(f"echo '{MARK} {len(told)}'")
    done = spark.shell("\n".join(script), home, environment, timeout=600)
    parts = re.split(rf"^{MARK} \d+\n", done.output, flags=re.MULTILINE)[1:]
    for line, output in zip(told, parts, strict=False):
        user.said[line.typed] = Submitted(0, output, "")
    if done.code != 0:
        user.said[told[len(parts) - 1].typed] = done
    return user


@pytest.mark.parametrize("line", lines(), ids=lambda line: line.typed[:60])
def test_each_line_answers_what_the_page_shows(
    user: User, spark: Cluster, folder: Path, line: Line
) -> None:
    """Typed in order in one shell, from an empty folder on; Spark Connect's against a server."""
    if CONNECT in line.typed:
        port = free_port()
        server = spark.connect(folder / "connect", user.environment, port)
        try:
            typed = line.typed.replace("HOST", f"127.0.0.1:{port}")
            done = spark.shell(typed, user.project, user.environment)
        finally:
            server.stop()
    else:
        assert line.typed in user.said, "a line before it failed"
        done = user.said[line.typed]
    assert done.code == 0, str(done)
    for shown in line.shown:
        assert f"\n{shown}" in done.output, str(done)  # Spark may log before its end of line


def test_the_job_ran_on_the_packed_python(user: User) -> None:
    """As the page says: what each of the two executors names is the archive's."""
    outputs = [done.output for typed, done in user.said.items() if " app.py" in typed]
    assert len(outputs) == 2
    for output in outputs:
        place = rf"^python: {WORK}/app-[^/]+/[01]/environment/bin/python"
        assert len(re.findall(place, output, re.MULTILINE)) == 2, output


SUBMIT = "spark-submit --archives env.tar.gz#environment app.py"
PYTHONS = "PYSPARK_DRIVER_PYTHON=python PYSPARK_PYTHON=./environment/bin/python"


def repacked(user: User, name: str) -> str:
    """Return the line that submits the archive in another format."""
    words: list[str | Path] = [user.folder.parent / "programs/envpack", "pack"]
    call([*words, "-f", "-q", "-o", name], cwd=user.project, env=user.environment)
    return f"{PYTHONS} spark-submit --archives {name}#environment app.py"


def other_driver(user: User, lab: Lab) -> str:
    """Return a line whose driver is an environment of another minor version."""
    place = user.folder / "other"
    words: list[str | Path] = [uv_program(), "pip", "install", "--python", place / "bin/python"]
    env = uv_environment(lab.managed(OTHER).install_dir)
    call([uv_program(), "venv", "--python", OTHER, place], env=env)
    call([*words, "pandas", "pyarrow"], env=env)
    return f"{PYTHONS} {SUBMIT}".replace(
        "DRIVER_PYTHON=python", f"DRIVER_PYTHON={place}/bin/python"
    )


def added_later(user: User, _lab: Lab) -> str:
    """Return a line whose job imports a package that the archive lacks."""
    source = (user.project / "app.py").read_text(encoding="utf-8")
    source = source.replace("import sys\n", "import sys\n\nimport humanize\n")
    source = source.replace("yield pd.", "humanize.intcomma(1)\n        yield pd.")
    (user.project / "later.py").write_text(source, encoding="utf-8")
    place = user.project / ".venv/bin/python"
    call([uv_program(), "pip", "install", "--python", place, "humanize"], env=user.environment)
    return f"{PYTHONS} {SUBMIT}".replace("app.py", "later.py")


CASES: dict[str, Callable[[User, Lab], str]] = {
    'Cannot run program "./environment/bin/python"': lambda _user, _lab: (
        f"{PYTHONS} {SUBMIT}".replace("#environment", "")
    ),
    'Cannot run program "python3"': lambda _user, _lab: SUBMIT,
    "error=13, Permission denied": lambda user, _lab: repacked(user, "env.tar"),
    "error=20, Not a directory": lambda user, _lab: repacked(user, "env.tar.zst"),
    "[PYTHON_VERSION_MISMATCH]": other_driver,
    "ModuleNotFoundError: No module named": added_later,
    "java.nio.file.NoSuchFileException": lambda _user, _lab: f"{PYTHONS} {SUBMIT}".replace(
        "env.tar.gz", "gone.tar.gz"
    ),
}


def test_every_row_has_a_case() -> None:
    """The table of errors has a row for each case here, and no other."""
    assert [row[0] for row in rows()] == list(CASES)


@pytest.mark.parametrize("texts", rows(), ids=lambda texts: texts[0])
def test_the_error_is_the_one_in_the_table(
    user: User, lab: Lab, spark: Cluster, texts: tuple[str, ...]
) -> None:
    """What is done wrong makes Spark say this."""
    line = CASES[texts[0]](user, lab)
    shutil.rmtree(user.project / "spark-warehouse", ignore_errors=True)
    active = f". .venv/bin/activate && {line}"
    done = spark.shell(active, user.project, user.environment)
    assert done.code != 0, str(done)
    for text in texts:
        assert text in done.output, str(done)


FIRST_ROW = {
    "local": f"{PYTHONS} {SUBMIT}".replace("submit", "submit --master 'local[2]'"),
    "no driver's Python": f"{PYTHONS} {SUBMIT}".partition(" ")[2],
}


@pytest.mark.parametrize("cause", FIRST_ROW)
def test_the_other_causes_of_the_first_row(user: User, spark: Cluster, cause: str) -> None:
    """They say the same; where it is the driver, Java's line says so before it."""
    done = spark.shell(
        f". .venv/bin/activate && {FIRST_ROW[cause]}", user.project, user.environment
    )
    assert done.code != 0, str(done)
    assert all(text in done.output for text in rows()[0][:2]), str(done)
    driver = 'Exception in thread "main" java.io.IOException: Cannot run program' in done.output
    assert driver == (cause != "local"), str(done)
