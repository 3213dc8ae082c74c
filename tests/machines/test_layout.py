"""A layout where there is no network, no Python, no uv: every command of uv for projects."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from .lab.interpreters import Standalone, downloads_json, standalone, uv_environment
from .lab.missing import require
from .lab.orchard import SAYS, plant, served, sums
from .lab.roots import root
from .lab.sandbox import USER, Sandbox
from .lab.session import Lab
from .lab.tools import CommandFailed, call, clean_environment, tool, uv_program
from .packs import envpack, source_path

pytestmark = pytest.mark.xdist_group("layout")  # one worker makes the layouts, once

MINORS = ("3.12", "3.13")
SITE = "/srv/the site é"
OLD = "rich==13.7.0\n"
PROJECT = """\
[project]
name = "orchard"
version = "1.0"
requires-python = ">=3.12"
dependencies = ["numpy", "rich", "colorama; sys_platform == 'win32'"]
scripts = { orchard = "orchard:main" }

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
MODULE = """\
import sys

import numpy
import rich


def main():
    print(int(numpy.arange(7).sum()), rich.__name__, "%d.%d" % sys.version_info[:2])
"""
COMPILE = ("--no-header", "--no-annotate", "--python-version", "3.12")
GUIDE = Path(__file__).parents[2] / "docs/layout.md"
SCRIPT = """\
# /// script
# requires-python = ">=3.12"
# dependencies = ["rich"]
# ///
import sys
from importlib.metadata import version

print("script", version("rich"), "%d.%d" % sys.version_info[:2])
"""


@dataclass(frozen=True)
class Near:
    """This side: a project locked against the public index, layouts of it, uv's variables."""

    folder: Path
    environment: dict[str, str]
    versions: dict[str, str]

    @property
    def project(self) -> Path:
        """The project."""
        return self.folder / "project"

    @property
    def layout(self) -> Path:
        """The layout, a folder."""
        return self.folder / "site"


@pytest.fixture(scope="module")
def pythons() -> list[Standalone]:
    """Give the interpreters that uv can fetch."""
    return [require(standalone, minor) for minor in MINORS]


@pytest.fixture(scope="module")
def near(lab: Lab, pythons: list[Standalone], work: Path) -> Near:
    """Give the project and its layout."""
    folder = work / "layout"
    source = folder / "project/src/orchard"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text(MODULE, encoding="utf-8")
    (folder / "project/pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "old.txt").write_text(OLD, encoding="utf-8")
    (folder / "downloads.json").write_text(downloads_json(pythons), encoding="utf-8")
    env = uv_environment(
        lab.managed(MINORS[0]).install_dir,
        {"UV_PYTHON_DOWNLOADS_JSON_URL": (folder / "downloads.json").as_uri()},
    )
    call([uv_program(), "lock"], cwd=folder / "project", env=env)
    before = sums(folder / "project")
    words: list[str | Path] = ["layout", "--json", "-o", folder / "site", "-r", folder / "old.txt"]
    words += ["--project", folder / "project", "--python", ",".join(MINORS)]
    told = json.loads(envpack(words, env=env, cwd=folder))
    assert told["lacking"] == []
    assert sums(folder / "project") == before
    words = ["layout", "--json", "--project", folder / "project", "--no-seed"]
    for one in pythons:
        words += ["--python", one.minor, "--python-archive", one.archive]
    for name in ("site.tar.gz", "site.zip"):
        envpack([*words, "-o", folder / name], env=env, cwd=folder)
    record = json.loads((folder / "site/envpack.json").read_text("utf-8"))
    versions = {file["name"]: file["version"] for file in record["files"]}
    return Near(folder, env, versions)


class Far:
    """A machine without network, Python and uv, and a home of it that lasts."""

    def __init__(self, suite: str, home: Path, layout: Path, uid: int | None = None) -> None:
        self.sandbox = Sandbox(require(root, suite, "std"))
        self.home = home
        self.layout = layout
        self.uid = uid
        home.mkdir(exist_ok=True)
        home.chmod(0o777)

    def ok(self, script: str, *words: str, at: str = SITE, **binds: Path) -> str:
        """Run a script whose $1 is the layout, at `at`, and which must do; return its stdout."""
        done = self.sandbox.run(
            ["sh", "-euc", script, "sh", at, *words],
            binds={at: self.layout, **{f"/{name}": path for name, path in binds.items()}},
            writable={"/home/user": self.home},
            env={"LANG": "C.UTF-8"},
            home="/home/user",
            uid=self.uid,
            cwd="/home/user",
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


WORKS = """
python=$2 old=$3
ln -sfn "$1" /tmp/link
uv=/tmp/link/bin/uv
"$uv" python list --only-installed | sed 's/ .*//'
"$uv" init -q --python "$python" fruit
cd fruit
"$uv" add -q numpy rich
"$uv" run -q python -c 'import numpy, sys; print(int(numpy.arange(5).sum()), sys.base_prefix)'
"$uv" add -q "rich==$old"
"$uv" run -q python -c 'import importlib.metadata as m; print("older", m.version("rich"))'
"$uv" remove -q rich
"$uv" add -q rich
"$uv" lock -q --upgrade
"$uv" run -q python -c 'import importlib.metadata as m; print("newer", m.version("rich"))'
"$uv" run -q --with hatchling python -c 'import hatchling; print("with")'
"$uv" build -q
ls dist/*.whl
cd ..
"$uv" run -q --python "$python" script.py
"$uv" venv -q --seed --python "$python" v
v/bin/python -m pip --version | cut -d' ' -f1,5-
"$uv" pip install -q --python v "rich==$old"
v/bin/python -c 'import rich; print("pip", rich.__name__)'
"$uv" tool install -q hatchling
.local/bin/hatchling version --help | head -1 | cut -d' ' -f1,2
"$1/bin/uvx" -q --from pygments pygmentize -V | cut -d' ' -f1,2
cp -r /project orchard
cd orchard
"$uv" sync -q --python "$python"
.venv/bin/orchard
"$uv" sync -q --locked --python "$python"
"$uv" build -q --wheel
ls dist
"""


def said(near: Near, python: str, at: str) -> list[str]:
    """Return what all of it prints with one Python."""
    full = {minor: require(standalone, minor).version for minor in MINORS}
    new, key = near.versions, f"cpython-{full[python]}-linux-x86_64-gnu"
    return [
        *(f"cpython-{full[minor]}-linux-x86_64-gnu" for minor in reversed(MINORS)),
        f"10 {at}/python/{key}",
        "older 13.7.0",
        f"newer {new['rich']}",
        "with",
        "dist/fruit-0.1.0-py3-none-any.whl",
        f"script {new['rich']} {python}",
        f"pip (python {python})",
        "pip rich",
        "usage: hatchling",
        f"Pygments version {new['pygments']}".rpartition(" ")[0],
        f"21 rich {python}",
        "orchard-1.0-py3-none-any.whl",
    ]


@pytest.mark.parametrize(
    ("suite", "python", "uid"), [("bookworm", "3.12", USER), ("trixie", "3.13", None)]
)
def test_every_command(
    near: Near, tmp_path: Path, suite: str, python: str, uid: int | None
) -> None:
    """In a path with a blank and an é, read-only, through a link; then under another name."""
    far = Far(suite, tmp_path / "home", near.layout, uid)
    (far.home / "script.py").write_text(SCRIPT, encoding="utf-8")
    out = far.ok(WORKS, python, "13.7.0", project=near.project)
    assert out.splitlines() == said(near, python, "/tmp/link")
    again = """
    cd fruit
    "$1/bin/uv" run -q python -c 'import numpy, rich, sys; print(sys.base_prefix)'
    cd ../orchard
    "$1/bin/uv" run -q orchard
    """
    out = far.ok(again, at="/opt/renamed")
    assert out.splitlines()[0].startswith("/opt/renamed/python/cpython-")
    assert out.splitlines()[1].startswith("21 rich 3.")


FROM_ARCHIVES = """
uv="$1/bin/uv"
"$uv" python list | sed 's/ .*//'
"$uv" python install -q 3.12 3.13
ls .local/share/uv/python | grep -c 'cpython-3.1[23].[0-9]'
"$uv" init -q --python 3.12 fruit
cd fruit
"$uv" add -q numpy rich
"$uv" run -q python -c 'import numpy, sys; print(int(numpy.arange(5).sum()), sys.base_prefix)'
"$uv" run -q --isolated --python 3.13 python -c 'import rich, sys; print(sys.version_info[:2])'
cp -r /project ../orchard
cd ../orchard
"$uv" sync -q
.venv/bin/orchard
"""


@pytest.mark.parametrize(("kind", "suite"), [("tar.gz", "trixie"), ("zip", "bookworm")])
def test_unpacked(near: Near, tmp_path: Path, kind: str, suite: str) -> None:
    """A layout in one file has Pythons as archives, which uv installs into the user's home."""
    archive = near.folder / f"site.{kind}"
    if kind == "zip":
        call([require(tool, "unzip"), "-q", archive, "-d", tmp_path])
    else:
        call(["tar", "-xzf", archive, "-C", tmp_path])
    far = Far(suite, tmp_path / "home", tmp_path / "site", USER)
    out = far.ok(FROM_ARCHIVES, project=near.project).splitlines()
    full = {minor: require(standalone, minor).version for minor in MINORS}
    key = f"cpython-{full['3.12']}-linux-x86_64-gnu"
    assert out[:2] == [f"cpython-{full[minor]}-linux-x86_64-gnu" for minor in reversed(MINORS)]
    assert out[2] == "2"
    assert out[3].startswith("10 /home/user/.local/share/uv/python/cpython-3.12")
    assert key.startswith("cpython-3.12")
    assert out[4:] == ["(3, 13)", "21 rich 3.13"]


def test_python_install_leaves_the_layout_alone(near: Near, tmp_path: Path) -> None:
    """Even where it could be written to: what uv installs is the user's."""
    layout = tmp_path / "site"
    shutil.copytree(near.layout, layout, symlinks=True)
    far = Far("bookworm", tmp_path / "home", near.layout)
    done = far.sandbox.run(
        ["/site/bin/uv", "-q", "python", "install", "3.12"],
        writable={"/site": layout, "/home/user": far.home},
        home="/home/user",
    )
    assert done.returncode == 0, done.stderr
    check: list[str | Path] = ["layout", "check", "--json", layout]
    assert json.loads(envpack(check, env=near.environment, cwd=tmp_path))["unknown"] == []
    assert list(far.home.glob(".local/share/uv/python/cpython-3.12.*"))


def test_the_lock_of_another_index(near: Near, tmp_path: Path) -> None:
    """`uv sync` gives the same versions and hashes; `envpack sync` leaves the lock as it is."""
    project = tmp_path / "project"
    shutil.copytree(near.project, project)
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    uv = near.layout / "bin/uv"
    offline: list[str | Path] = [require(tool, "bwrap"), "--dev-bind", "/", "/", "--unshare-net"]
    call([*offline, uv, "sync", "-q", "--no-python-downloads"], cwd=project, env=env)
    locks = [tomllib.loads((p / "uv.lock").read_text("utf-8")) for p in (near.project, project)]
    versions = [{p["name"]: p["version"] for p in lock["package"]} for lock in locks]
    assert versions[0] == versions[1]
    hashes = [{w["hash"] for p in lock["package"] for w in p.get("wheels", [])} for lock in locks]
    assert hashes[1] <= hashes[0]
    shutil.rmtree(project)
    shutil.copytree(near.project, project)
    words: list[str | Path] = ["sync", near.layout / "packages", "--configure"]
    done = envpack(words, env={**env, "UV": str(uv)}, cwd=project, before=offline)
    assert done.strip().endswith(".venv")
    assert (project / "uv.lock").read_bytes() == (near.project / "uv.lock").read_bytes()
    plain = [*offline, uv_program(), "run", "--locked", "orchard"]
    assert call(plain, cwd=project, env=env).startswith("21 rich 3.")


def test_a_changed_wheel(near: Near, tmp_path: Path) -> None:
    """uv refuses it by its hash, and `layout check` by its name."""
    layout = tmp_path / "site"
    shutil.copytree(near.layout, layout, symlinks=True)
    (wheel,) = layout.glob("packages/rich-13.7.0-*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("rich/evil.py", "")
    far = Far("bookworm", tmp_path / "home", layout)
    said = far.ok('"$1/bin/uv" init -q p; cd p; "$1/bin/uv" add rich==13.7.0 2>&1 || :')
    assert "Hash mismatch for" in said
    assert "rich==13.7.0" in said
    with pytest.raises(CommandFailed) as caught:
        envpack(["layout", "check", layout], env=near.environment, cwd=tmp_path)
    assert f"packages/{wheel.name} has the sha256" in str(caught.value)


def test_pip_and_other_platforms(near: Near, tmp_path: Path) -> None:
    """pip takes the folder as an index; wheels of aarch64 resolve where they were asked for."""
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    offline: list[str | Path] = [require(tool, "bwrap"), "--dev-bind", "/", "/", "--unshare-net"]
    uv = near.layout / "bin/uv"
    call([*offline, uv, "venv", "-q", "--seed", "-p", "3.12", tmp_path / "v"], env=env)
    url = (near.layout / "simple").as_uri()
    words = ["-m", "pip", "install", "-q", "--index-url", url, "rich==13.7.0", "numpy"]
    call([*offline, tmp_path / "v/bin/python", *words], env=env)
    code = "import numpy, importlib.metadata as m; print(m.version('rich'))"
    assert call([tmp_path / "v/bin/python", "-c", code], env=env) == "13.7.0\n"
    more: list[str | Path] = ["layout", "-q", "-o", tmp_path / "arm", "--project", near.project]
    more += ["--platform", "aarch64-unknown-linux-gnu,windows", "--python", "3.12"]
    more += ["--no-python", "--no-uv"]
    envpack(more, env=near.environment, cwd=tmp_path)
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("numpy\nrich\n", encoding="utf-8")
    for platform in ("aarch64-unknown-linux-gnu", "x86_64-pc-windows-msvc"):
        target = tmp_path / platform
        common = ["--config-file", str(tmp_path / "arm/uv.toml"), "--python-platform", platform]
        common += ["-q", "--only-binary", ":all:", "--python", str(tmp_path / "v")]
        compiled = call(
            [*offline, uv_program(), "pip", "compile", *COMPILE, *common, wanted], env=env
        )
        assert set(compiled.split()) >= {f"{n}=={near.versions[n]}" for n in ("numpy", "rich")}
        words = ["pip", "install", *common, "--target", str(target), "numpy", "rich"]
        call([*offline, uv_program(), *words], env=env)
        (module,) = target.glob("numpy/_core/_multiarray_umath.*[od]")
        assert ("aarch64" in module.name, "win_amd64" in module.name) == (
            "aarch64" in platform,
            "windows" in platform,
        )
    words = ["pip", "compile", *COMPILE, "--config-file", str(tmp_path / "arm/uv.toml")]
    words += ["--python-platform", "aarch64-apple-darwin", "--only-binary", ":all:"]
    with pytest.raises(CommandFailed, match="no wheels with a matching"):
        call([*offline, uv_program(), *words, wanted], env=env)


def test_a_web_server(near: Near, tmp_path: Path) -> None:
    """nginx serves the folder as it is; uv reads metadata alone; the guide's lines install."""
    program = require(tool, "nginx")
    port = free_port()
    settings = tmp_path / "nginx.conf"
    server_block = f"server {{ listen 127.0.0.1:{port}; root {near.layout}; }}"
    settings.write_text(
        f"daemon off; user root; pid {tmp_path}/pid; error_log stderr; events {{}}"
        f" http {{ access_log {tmp_path}/log; {server_block} }}\n"
    )
    env = clean_environment({"UV_CACHE_DIR": str(tmp_path / "cache")})
    server = subprocess.Popen([program, "-p", tmp_path, "-c", settings], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        index = f"http://127.0.0.1:{port}/simple/"
        uv = uv_program()
        words = ["pip", "compile", "-q", "--no-config", *COMPILE, "-"]
        done = subprocess.run(
            [uv, *words, "--index-url", index],
            input="numpy\nrich==13.7.0\n",
            env=env,
            text=True,
            capture_output=True,
            check=True,
        )
        assert "rich==13.7.0" in done.stdout.split()
        seen = (tmp_path / "log").read_text()
        assert ".whl.metadata HTTP" in seen
        assert ".whl HTTP" not in seen
        python = near.layout / f"python/{require(standalone, '3.12').key}/bin/python3.12"
        venv = [uv, "venv", "-q", "--no-config", "--seed", "--default-index", index]
        call([*venv, "--python", python, tmp_path / "v"], env=env)
        call([uv, "init", "-q", "--python", python, tmp_path / "fruit"], env=env)
        (lines,) = re.findall(r"\*\*A web server\*\*.*?```text\n(.*?)```", page(), re.DOTALL)
        assert len(lines.splitlines()) == 2
        lines = lines.replace("http://server/", f"http://127.0.0.1:{port}/")
        path = os.pathsep.join([str(tmp_path / "v/bin"), str(Path(uv).parent), env["PATH"]])
        there = {**env, "PATH": path, "UV_PYTHON": str(python)}
        call(["sh", "-euc", lines], cwd=tmp_path / "fruit", env=there)
    finally:
        server.terminate()
        server.wait()
    code = "import importlib.metadata as m; print(m.version('rich'))"
    for folder in ("v", "fruit/.venv"):
        version = call([tmp_path / folder / "bin/python", "-c", code])
        assert version == near.versions["rich"] + "\n"


def page() -> str:
    """Return the page of which the administrator's guide is a part."""
    return GUIDE.read_text("utf-8")


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(200):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nobody listens")


def test_two_layouts(near: Near, tmp_path: Path) -> None:
    """Stacked by the guide's uv.toml: each gives what the other has not."""
    (tmp_path / "r.txt").write_text("iniconfig\n")
    words: list[str | Path] = ["layout", "-q", "-o", tmp_path / "more", "-r", tmp_path / "r.txt"]
    words += ["--python", "3.12", "--no-python", "--no-uv", "--no-seed"]
    envpack(words, env=near.environment, cwd=tmp_path)
    far = Far("bookworm", tmp_path / "home", near.layout)
    (stacked,) = re.findall(r"\*\*Several teams\*\*.*?```toml\n(.*?)```", page(), re.DOTALL)
    (far.home / "uv.toml").write_text(stacked, encoding="utf-8")
    script = """
    UV_CONFIG_FILE=$HOME/uv.toml
    export UV_CONFIG_FILE
    "$1/bin/uv" init -q fruit
    cd fruit
    "$1/bin/uv" add -q iniconfig rich
    "$1/bin/uv" run -q python -c 'import iniconfig, rich; print("both")'
    """
    assert far.ok(script, at="/srv/current", **{"srv/team": tmp_path / "more"}) == "both\n"


def guide() -> list[tuple[str, str]]:
    """Return the blocks of the administrator's guide: the side that they are for, and a script."""
    blocks = re.findall(r"<!-- (near|far) -->\n```console\n(.*?)```", page(), re.DOTALL)
    return [(side, re.sub(r"^\$ ", "", script, flags=re.MULTILINE)) for side, script in blocks]


def test_the_guide(near: Near, tmp_path: Path) -> None:
    """Every line of it, the near ones here, the far ones where there is nothing, in their order."""
    blocks = guide()
    assert [side for side, _ in blocks] == ["near", "near", "far", "far", "far", "near"]
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    for name in ("orchard", "cellar"):
        shutil.copytree(near.project, here / name)
    shutil.copy(near.folder / "old.txt", here / "extras.txt")
    shim = tmp_path / "bin/envpack"
    shim.parent.mkdir()
    program = "from envpack.cli import main; main()"
    shim.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{program}' \"$@\"\n")
    shim.chmod(0o755)
    path = os.pathsep.join([str(shim.parent), str(Path(uv_program()).parent), os.environ["PATH"]])
    env = {**near.environment, "PATH": path, "PYTHONPATH": source_path()}
    far = Far("trixie", there, near.layout)
    lasting = ""
    for side, script in blocks:
        if side == "near":
            call(["sh", "-euc", script], cwd=here, env=env)
            continue
        if not (there / "site.tar").exists():
            shutil.move(here / "site.tar", there / "site.tar")
        out = far.ok(lasting + script)
        lasting += "".join(line for line in script.splitlines(True) if line.startswith("export "))
    assert "cpython-3.12" in out
    assert (there / "fruit/dist/fruit-0.1.0-py3-none-any.whl").is_file()
    assert not list((here / "site/packages").glob("nothing*"))


def test_what_somebody_patched(near: Near, lab: Lab, tmp_path: Path) -> None:
    """An environment's patched package, and a compiled one, are what the far side gets."""
    env = tmp_path / "v"
    python = lab.managed("3.12").executable
    call([uv_program(), "venv", "-q", "--python", python, env], env=near.environment)
    words: list[str | Path] = [uv_program(), "pip", "install", "-q", "--python", env]
    call([*words, "numpy", "rich==13.7.0", "--link-mode", "copy"], env=near.environment)
    (module,) = env.glob("lib/python3.12/site-packages/rich/__init__.py")
    module.write_text(module.read_text("utf-8") + "PATCHED = True\n", encoding="utf-8")
    make: list[str | Path] = ["layout", "--json", "-o", tmp_path / "site", "--from-env", env]
    told = json.loads(envpack([*make, "--no-seed"], env=near.environment, cwd=tmp_path))
    assert [path.split("-")[0] for path in told["patched"]] == ["packages/rich"]
    far = Far("bookworm", tmp_path / "home", tmp_path / "site")
    script = """
    "$1/bin/uv" init -q --python 3.12 fruit
    cd fruit
    "$1/bin/uv" add -q rich numpy
    "$1/bin/uv" run -q python -c 'import numpy, rich; print(rich.PATCHED, numpy.arange(3).sum())'
    """
    assert far.ok(script) == "True 3\n"


def test_no_space(near: Near) -> None:
    """One sentence, and nothing is left."""
    words = [sys.executable, "-c", "from envpack.cli import main; main()", "layout", "-q"]
    words += ["--project", str(near.project), "--no-uv", "--no-seed", "-o", "/mnt/L"]
    bwrap = [require(tool, "bwrap"), "--dev-bind", "/", "/", "--size", str(30 << 20)]
    done = subprocess.run(
        [
            *bwrap,
            "--tmpfs",
            "/mnt",
            "sh",
            "-c",
            '"$@"; code=$?; ls -A /mnt; exit $code',
            "sh",
            *words,
        ],
        env={**near.environment, "PYTHONPATH": source_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    error = done.stderr.splitlines()[0]
    assert error.startswith("error: ")
    assert "No space left on" in error or "no space is left" in error, done.stderr
    assert done.stdout in {"", ".L.part\n"}


def test_every_kind_of_source(lab: Lab, tmp_path: Path) -> None:
    """Repositories, URLs and sdists become wheels of the index, which `sync` takes for them."""
    with served(tmp_path / "served") as url:
        env = uv_environment(lab.managed("3.12").install_dir, {})
        project = plant(tmp_path / "project", url, env)
        words: list[str | Path] = ["layout", "--json", "-o", tmp_path / "site", "--python", "3.12"]
        words += ["--python-archive", require(standalone, "3.12").archive, "--project", project]
        told = json.loads(envpack(words, env=env, cwd=tmp_path))
    assert told["lacking"] == []
    check: list[str | Path] = ["layout", "check", "--json", tmp_path / "site"]
    found = json.loads(envpack([*check, "--project", project], env=env, cwd=tmp_path))
    assert (found["findings"], found["missing"]) == ([], [])
    before = sums(project)
    (tmp_path / "home").mkdir()
    far = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    offline: list[str | Path] = [require(tool, "bwrap"), "--dev-bind", "/", "/", "--unshare-net"]
    envpack(["sync", tmp_path / "site", "--configure"], env=far, cwd=project, before=offline)
    uv = tmp_path / "site/libexec/uv-x86_64-unknown-linux-musl"
    assert call([*offline, uv, "run", "--locked", "orchard"], cwd=project, env=far) == SAYS
    assert sums(project) == before
