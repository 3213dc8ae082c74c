"""Editable installs become real files: from synthetic forms, and from what real uv installs."""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from envpack.distributions import distributions_in
from envpack.editable import EditableMode, Replacement, resolve
from envpack.editable_build import pins
from envpack.editable_hooks import hooks_of
from envpack.editable_tree import anchor_of, copy_source
from envpack.environment import Environment, discover
from envpack.errors import EditableFault, ToolFault
from envpack.interpreter import Interpreter
from envpack.model import EditableForm
from envpack.strays import stray_paths
from envpack.target import Target, target_of
from envpack.uv import Uv

SITE = "lib/python3.12/site-packages"


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write a tree from a dict of names and texts."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return root


def no_uv() -> NoReturn:
    """Be a machine without uv."""
    raise ToolFault("uv is needed, and it was not found")


def quiet(_line: str) -> None:
    """Say nothing."""


def plain_environment(tmp_path: Path, target: Target | None = None) -> Environment:
    """Make an environment of which only the site-packages is there."""
    root = tmp_path / "env"
    (root / SITE).mkdir(parents=True)
    target = target or target_of(os.path.realpath(sys.executable))
    assert target is not None
    interpreter = Interpreter(
        prefix=str(tmp_path / "base"),
        spellings=(),
        executable="bin/python3.12",
        version="3.12.1",
        minor="3.12",
        target=target,
        managed=False,
        build=None,
    )
    return Environment(str(root), (), interpreter, system_site=False, project=None)


def install(
    environment: Environment, source: Path, files: Mapping[str, str], *, name: str = "shop"
) -> None:
    """Write what an installer writes for an editable: `files`, a dist-info, `bin/<name>`."""
    info = f"{name}-1.0.dist-info"
    url = {"url": source.as_uri(), "dir_info": {"editable": True}}
    written = {
        **{f"{SITE}/{file}": text for file, text in files.items()},
        f"{SITE}/{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n",
        f"{SITE}/{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: fake (1.2)\n",
        f"{SITE}/{info}/direct_url.json": json.dumps(url),
        f"{SITE}/{info}/uv_cache.json": "{}",
        f"bin/{name}": "#!/old/bin/python\n",
    }
    rows = [os.path.relpath(file, SITE) for file in written]
    record = "".join(f"{row},,\n" for row in [*rows, f"{info}/RECORD"])
    write(Path(environment.root), {**written, f"{SITE}/{info}/RECORD": record})


def source_tree(tmp_path: Path, below: str = "src") -> Path:
    """Make a project whose package `shop` has data, a cache and a subpackage."""
    package = f"project/{below}/shop" if below else "project/shop"
    write(
        tmp_path,
        {
            "project/pyproject.toml": "[project]\nname = 'shop'\n",
            f"{package}/__init__.py": "",
            f"{package}/deep/__init__.py": "",
            f"{package}/data/prices.json": "{}",
            f"{package}/__pycache__/x.cpython-312.pyc": "",
        },
    )
    return tmp_path / "project"


def copied(environment: Environment, tmp_path: Path) -> Replacement:
    """Resolve the one editable by copying."""
    found = distributions_in(environment.root, SITE)
    (replacement,) = resolve(
        environment, found, EditableMode.COPY, str(tmp_path / "scratch"), no_uv, quiet
    )
    return replacement


def names(replacement: Replacement) -> set[str]:
    """Return the names of its files relative to site-packages."""
    return {os.path.relpath(name, SITE) for name, _ in replacement.files}


COMMON = {
    "shop/__init__.py",
    "shop/deep/__init__.py",
    "shop/data/prices.json",
    "shop-1.0.dist-info/METADATA",
    "shop-1.0.dist-info/WHEEL",
    "../../../bin/shop",
}


def test_a_pth_of_a_src_layout_is_replaced_by_what_it_maps(tmp_path: Path) -> None:
    """A `.pth` goes out with the old metadata; package, data and script come in, caches do not."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path)
    install(environment, project, {"_editable_impl_shop.pth": f"{project}/src\n"})
    done = copied(environment, tmp_path)
    assert names(done) == COMMON
    assert f"{SITE}/_editable_impl_shop.pth" in done.hooks
    assert f"{SITE}/shop-1.0.dist-info/direct_url.json" in done.hooks
    assert done.editable.form is EditableForm.COPIED
    assert done.editable.backend == "fake 1.2"
    assert (done.info, done.editable.note) == ("shop-1.0.dist-info", "")
    assert str(project) in done.needles
    assert all(os.path.isfile(path) for _, path in done.files)
    assert list(done.files) == sorted(done.files)


def test_a_pth_to_the_project_root_leaves_the_workshop_behind(tmp_path: Path) -> None:
    """On a flat layout tests, docs, build scripts and environments are not importable wares."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path, "")
    write(
        project,
        {
            "helper.py": "",
            "setup.py": "",
            "noxfile.py": "",
            "tests/__init__.py": "",
            "docs/conf.py": "",
            "data/big.bin": "",
            "venv/pyvenv.cfg": "",
            "venv/lib/x.py": "",
            ".hidden/__init__.py": "",
            "notes.txt": "",
        },
    )
    install(environment, project, {"shop.pth": f"{project}\n"})
    assert names(copied(environment, tmp_path)) == {*COMMON, "helper.py"}


def test_top_level_txt_is_the_whole_truth(tmp_path: Path) -> None:
    """With setuptools' top_level.txt nothing else of the directory is taken, and all it names."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path, "")
    write(project, {"helper.py": "", "tests/__init__.py": "", "space/part/mod.py": ""})
    install(
        environment,
        project,
        {
            "__editable__.shop-1.0.pth": f"{project}\n",
            "shop-1.0.dist-info/top_level.txt": "shop\ntests\nspace\n",
        },
    )
    got = names(copied(environment, tmp_path)) - COMMON
    assert got == {
        "tests/__init__.py",
        "space/part/mod.py",
        "shop-1.0.dist-info/top_level.txt",
    }


FINDER = """\
    from __future__ import annotations
    raise SystemExit("must not be imported")
    MAPPING: dict[str, str] = {mapping!r}
    NAMESPACES: dict[str, list[str]] = {namespaces!r}
"""


def test_setuptools_finder_is_read_and_not_run(tmp_path: Path) -> None:
    """MAPPING may name packages, modules without suffix and extensions; NAMESPACES directories."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path, "")
    write(
        project,
        {
            "one.py": "",
            "fast.cpython-312-x86_64-linux-gnu.so": "",
            "code/part/__init__.py": "",
            "ns/inner/mod.py": "",
        },
    )
    mapping = {
        "shop": f"{project}/shop",
        "one": f"{project}/one",
        "fast": f"{project}/fast",
        "ns.part": f"{project}/code/part",
    }
    finder = FINDER.format(mapping=mapping, namespaces={"ns": [f"{project}/ns", "/nowhere"]})
    line = "import __editable___shop_1_0_finder; __editable___shop_1_0_finder.install()"
    install(
        environment,
        project,
        {"__editable__.shop-1.0.pth": line, "__editable___shop_1_0_finder.py": finder},
    )
    done = copied(environment, tmp_path)
    assert names(done) - COMMON == {
        "one.py",
        "fast.cpython-312-x86_64-linux-gnu.so",
        "ns/part/__init__.py",
        "ns/inner/mod.py",
    }
    assert f"{SITE}/__editable___shop_1_0_finder.py" in done.hooks


def test_the_editables_redirector_is_read(tmp_path: Path) -> None:
    """Hatchling's dev-mode-exact and pdm's `editables` backend map single modules."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path)
    redirector = f"""\
        from editables.redirector import RedirectingFinder as F
        F.install()
        F.map_module('shop', '{project}/src/shop/__init__.py')
    """
    install(
        environment,
        project,
        {"_shop.pth": "import _editable_impl_shop", "_editable_impl_shop.py": redirector},
    )
    assert names(copied(environment, tmp_path)) == COMMON


def test_real_files_of_an_editable_stay(tmp_path: Path) -> None:
    """What an editable installs as a real file (maturin, force-include) is part of the copy."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path)
    install(environment, project, {"shop.pth": f"{project}/src\n", "shop/_native.so": "ELF"})
    done = copied(environment, tmp_path)
    assert names(done) == {*COMMON, "shop/_native.so"}


@pytest.mark.parametrize(
    ("pth", "loader"),
    [("shop-editable.pth", "_shop_editable_loader"), ("_shop_editable.pth", "_shop_editable")],
)
def test_a_loader_that_runs_code_is_only_built(tmp_path: Path, pth: str, loader: str) -> None:
    """meson-python and scikit-build-core map at import time: without a build they are refused."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path)
    install(environment, project, {pth: f"import {loader}", f"{loader}.py": "install({})"})
    with pytest.raises(EditableFault, match="only be packed by building it") as caught:
        copied(environment, tmp_path)
    assert "--editable auto" in str(caught.value.hint)
    with pytest.raises(EditableFault, match="uv is needed"):
        resolve(
            environment,
            distributions_in(environment.root, SITE),
            EditableMode.AUTO,
            str(tmp_path / "scratch"),
            no_uv,
            quiet,
        )


def test_an_egg_link_is_found_without_metadata_and_only_built(tmp_path: Path) -> None:
    """`setup.py develop` leaves a link and a line of easy-install.pth, which is no stray."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path, "")
    write(project, {"shop.egg-info/PKG-INFO": "Name: shop\nVersion: 2.1\n"})
    site = Path(environment.root, SITE)
    write(site, {"shop.egg-link": f"{project}\n.", "easy-install.pth": f"{project}\n"})
    (stray,) = stray_paths(environment, ())
    assert stray.paths == ()
    with pytest.raises(EditableFault, match=r"`setup\.py develop`"):
        copied(environment, tmp_path)
    with pytest.raises(EditableFault, match=r"refused: `shop`$"):
        resolve(environment, (), EditableMode.REFUSE, str(tmp_path), no_uv, quiet)


def test_auto_copies_and_says_why_when_nothing_can_be_built(tmp_path: Path) -> None:
    """Without uv, AUTO copies; the reason is in the note and is said."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path)
    install(environment, project, {"shop.pth": f"{project}/src\n"})
    said: list[str] = []
    found = distributions_in(environment.root, SITE)
    (done,) = resolve(
        environment, found, EditableMode.AUTO, str(tmp_path / "s"), no_uv, said.append
    )
    assert done.editable.form is EditableForm.COPIED
    assert done.editable.note == "uv is needed, and it was not found"
    assert said[-1] == "copying the files of `shop`: uv is needed, and it was not found"


def test_an_interpreter_of_another_machine_builds_nothing(tmp_path: Path) -> None:
    """AUTO copies then and BUILD refuses, and uv is not even looked for."""
    environment = plain_environment(tmp_path, Target("linux", "s390x", "gnu"))
    project = source_tree(tmp_path)
    install(environment, project, {"shop.pth": f"{project}/src\n"})
    found = distributions_in(environment.root, SITE)
    (done,) = resolve(environment, found, EditableMode.AUTO, str(tmp_path), no_uv, quiet)
    assert done.editable.note == "an interpreter for linux-s390x-gnu does not run here"
    with pytest.raises(EditableFault, match="s390x"):
        resolve(environment, found, EditableMode.BUILD, str(tmp_path), no_uv, quiet)


@pytest.mark.parametrize("mode", [EditableMode.AUTO, EditableMode.BUILD, EditableMode.COPY])
def test_a_source_that_is_gone_is_named(tmp_path: Path, mode: EditableMode) -> None:
    """No mode packs an editable whose directory was moved or deleted."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path)
    install(environment, project, {"shop.pth": f"{project}/src\n"})
    shutil.rmtree(project)
    found = distributions_in(environment.root, SITE)
    with pytest.raises(EditableFault, match=r"project.*moved or deleted"):
        resolve(environment, found, mode, str(tmp_path), lambda: Uv("/nowhere"), quiet)


def test_refusal_names_all(tmp_path: Path) -> None:
    """REFUSE tells every editable and stray in one sentence, and the way out."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path)
    install(environment, project, {"shop.pth": f"{project}/src\n"})
    install(environment, project, {"tools.pth": f"{project}/src\n"}, name="tools")
    write(Path(environment.root, SITE), {"mine.pth": f"{project}\n"})
    found = distributions_in(environment.root, SITE)
    with pytest.raises(EditableFault, match=r"refused: `shop`, `tools`, `mine\.pth`") as caught:
        resolve(environment, found, EditableMode.REFUSE, str(tmp_path), no_uv, quiet)
    assert "uv sync --no-editable" in str(caught.value.hint)


def test_nothing_editable_is_nothing_to_do(tmp_path: Path) -> None:
    """An environment without editables needs neither uv nor a scratch directory."""
    environment = plain_environment(tmp_path)
    assert resolve(environment, (), EditableMode.REFUSE, "/nowhere", no_uv, quiet) == ()


def test_a_stray_pth_is_copied_and_reduced(tmp_path: Path) -> None:
    """Lines that lead out become files; comments, imports and lines inside stay."""
    environment = plain_environment(tmp_path)
    mine = write(
        tmp_path / "mine", {"tool.py": "", "kit/__init__.py": "", "space/x/y.py": "", "a.txt": ""}
    )
    inside = Path(environment.root, SITE, "vendored")
    inside.mkdir()
    text = f"# mine\nimport os\n{mine}\n{inside}\n{tmp_path}/gone\n"
    write(Path(environment.root, SITE), {"mine.pth": text})
    (done,) = resolve(environment, (), EditableMode.AUTO, str(tmp_path), no_uv, quiet)
    assert names(done) == {"tool.py", "kit/__init__.py", "space/x/y.py"}
    assert done.inline == ((f"{SITE}/mine.pth", b"# mine\nimport os\nvendored\n"),)
    assert done.hooks == (f"{SITE}/mine.pth",)
    assert (done.editable.name, done.info) == ("mine.pth", "")
    assert done.editable.note == f"leads nowhere: `{tmp_path}/gone`"
    with pytest.raises(EditableFault, match=r"`mine\.pth` of no distribution"):
        resolve(environment, (), EditableMode.BUILD, str(tmp_path), no_uv, quiet)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_virtualenv.pth", "import _virtualenv\n"),
        ("distutils-precedence.pth", "import os; var = 'X'\n"),
        ("ns-nspkg.pth", "import sys, types, os\n"),
        ("own.pth", "vendored\n# comment\n\n"),
        ("base.pth", "{base}/lib/more\n"),
    ],
)
def test_what_stays_inside_is_no_stray(tmp_path: Path, name: str, text: str) -> None:
    """Lines of code, and paths in the environment or its interpreter, lead nowhere else."""
    environment = plain_environment(tmp_path)
    text = text.format(base=environment.interpreter.prefix)
    write(Path(environment.root, SITE), {name: text})
    assert stray_paths(environment, ()) == ()


def test_links_in_a_package_are_followed_once(tmp_path: Path) -> None:
    """A link to a file or directory becomes what it leads to; one to above itself is left out."""
    environment = plain_environment(tmp_path)
    project = source_tree(tmp_path)
    write(tmp_path, {"shared/logo.txt": "x"})
    (project / "src/shop/shared").symlink_to(tmp_path / "shared")
    (project / "src/shop/loop").symlink_to(project / "src")
    (project / "src/shop/dangling").symlink_to("nowhere")
    install(environment, project, {"shop.pth": f"{project}/src\n"})
    assert names(copied(environment, tmp_path)) == {*COMMON, "shop/shared/logo.txt"}


def test_pins_cover_the_readers_of_git() -> None:
    """Names are normalised as setuptools-scm does; no version, no pins."""
    got = pins("my.shop-x", "1.2.dev3")
    assert got["SETUPTOOLS_SCM_PRETEND_VERSION_FOR_MY_SHOP_X"] == "1.2.dev3"
    assert got["PDM_BUILD_SCM_VERSION"] == "1.2.dev3"
    assert pins("shop", "") == {}


def test_the_copy_leaves_the_workshop_behind_and_keeps_relations(tmp_path: Path) -> None:
    """No git, caches, environments, old builds or ignored data; `../README.md` is still there."""
    write(
        tmp_path,
        {
            "repo/.git/HEAD": "",
            "repo/README.md": "read me",
            "repo/pyproject.toml": "",
            "repo/other/x.py": "",
            "repo/.env": "SECRET=1",
            "repo/member/pyproject.toml": "[project]",
            "repo/member/.gitignore": "/scans/\nmodels\n*.log\n",
            "repo/member/src/shop/__init__.py": "",
            "repo/member/src/shop/build/__init__.py": "",
            "repo/member/shop.egg-info/SOURCES.txt": "",
            "repo/member/build/lib/shop/old.py": "",
            "repo/member/dist/shop.whl": "",
            "repo/member/scans/1.tif": "",
            "repo/member/models/__init__.py": "",
            "repo/member/.venv/pyvenv.cfg": "",
            "repo/member/node_modules/x/y.js": "",
            "repo/member/target/CACHEDIR.TAG": "Signature",
            "repo/member/src/shop/__pycache__/x.pyc": "",
        },
    )
    member = str(tmp_path / "repo/member")
    anchor = anchor_of(member)
    assert anchor == str(tmp_path / "repo")
    at = copy_source(member, anchor, str(tmp_path / "copy"), name="shop-1.0", whole=False)
    top = tmp_path / "copy/shop-1.0"
    assert at == str(top / "member")
    got = {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}
    assert got == {
        "README.md",
        "member/pyproject.toml",
        "member/.gitignore",
        "member/src/shop/__init__.py",
        "member/src/shop/build/__init__.py",
        "member/shop.egg-info/SOURCES.txt",
        "member/models/__init__.py",
    }


def test_a_project_of_no_repository_takes_nothing_along(tmp_path: Path) -> None:
    """Outside of git the directories above a project are somebody else's."""
    project = source_tree(tmp_path)
    write(tmp_path, {"private.txt": ""})
    into = str(tmp_path / "copy")
    at = copy_source(str(project), str(project), into, name="shop-1.0", whole=False)
    assert at == os.path.join(into, "shop-1.0")
    assert not (tmp_path / "copy/private.txt").exists()


# What follows is made by real uv and real build backends.

BACKENDS: dict[str, dict[str, str]] = {
    "hatchling": {
        "pyproject.toml": """\
            [build-system]
            requires = ["hatchling"]
            build-backend = "hatchling.build"
        """,
    },
    "uv_build": {
        "pyproject.toml": """\
            [build-system]
            requires = ["uv_build"]
            build-backend = "uv_build"
        """,
    },
    "flit": {
        "pyproject.toml": """\
            [build-system]
            requires = ["flit_core>=3.4"]
            build-backend = "flit_core.buildapi"
        """,
    },
    "poetry": {
        "pyproject.toml": """\
            [build-system]
            requires = ["poetry-core>=2"]
            build-backend = "poetry.core.masonry.api"
        """,
    },
    "pdm": {
        "pyproject.toml": """\
            [build-system]
            requires = ["pdm-backend"]
            build-backend = "pdm.backend"
        """,
    },
    "setuptools-src": {
        "pyproject.toml": """\
            [build-system]
            requires = ["setuptools>=64"]
            build-backend = "setuptools.build_meta"
            [tool.setuptools.package-data]
            shop = ["data/*.json"]
        """,
    },
    "setuptools-flat": {
        "pyproject.toml": """\
            [build-system]
            requires = ["setuptools>=64"]
            build-backend = "setuptools.build_meta"
            [tool.setuptools]
            packages = ["shop", "shop.deep"]
            [tool.setuptools.package-data]
            shop = ["data/*.json"]
        """,
    },
    "setuptools-scm": {
        "pyproject.toml": """\
            [build-system]
            requires = ["setuptools>=64", "setuptools_scm>=8"]
            build-backend = "setuptools.build_meta"
            [tool.setuptools_scm]
            version_file = "src/shop/_version.py"
        """,
    },
    "hatch-vcs": {
        "pyproject.toml": """\
            [build-system]
            requires = ["hatchling", "hatch-vcs"]
            build-backend = "hatchling.build"
            [tool.hatch.version]
            source = "vcs"
        """,
    },
}
DYNAMIC = {"setuptools-scm", "hatch-vcs"}
LEFT_BEHIND = ["RECORD", "direct_url.json", "uv_build.json", "uv_cache.json"]
TRY = """\
    import sys
    sys.path.insert(0, sys.argv[1])
    import importlib.metadata, importlib.resources, shop, shop.deep
    assert shop.__file__.startswith(sys.argv[1]), shop.__file__
    print(importlib.metadata.version("shop"), shop.main(), end=" ")
    print((importlib.resources.files("shop") / "data/prices.json").read_text(), end="")
"""


def project_files(backend: str) -> dict[str, str]:
    """Return the files of a tiny project with data and a console script."""
    flat = backend == "setuptools-flat"
    package = "shop" if flat else "src/shop"
    version = 'dynamic = ["version"]' if backend in DYNAMIC else 'version = "1.2"'
    head = f"""\
[project]
name = "shop"
description = "A shop"
{version}
requires-python = ">=3.8"
[project.scripts]
shop = "shop:main"
"""
    return {
        "pyproject.toml": head + textwrap.dedent(BACKENDS[backend]["pyproject.toml"]),
        f"{package}/__init__.py": "def main():\n    return 'sold'\n",
        f"{package}/deep/__init__.py": "",
        f"{package}/data/prices.json": "{}",
    }


def missing(reason: str) -> NoReturn:
    """Skip, loudly; fail where the machines are promised to be complete."""
    if os.environ.get("ENVPACK_REQUIRE_MACHINES") == "1":
        pytest.fail(reason)
    pytest.skip(f"NOT TESTED: {reason}")


@functools.cache
def real_uv() -> Uv:
    """Find uv, or skip."""
    try:
        return Uv.find()
    except ToolFault as fault:
        missing(str(fault))


def prefixes() -> Iterator[str]:
    """Yield the prefixes of Pythons that uv or pyenv keeps, and of the one that runs this."""
    for version in ("3.12", "3.13", "3.11"):
        found = subprocess.run(
            [real_uv().path, "python", "find", "--no-project", "--system", version],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode == 0:
            yield str(Path(found.stdout.strip()).resolve().parent.parent)
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    yield from sorted(glob.glob(os.path.join(pyenv, "versions", "3.1[23].*")))
    yield os.path.realpath(sys.base_prefix)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy a self-contained Python without bytecode, so that any that is written is seen."""
    for prefix in prefixes():
        stdlib = glob.glob(os.path.join(prefix, "lib", "python3.*", "os.py"))
        if stdlib and not prefix.startswith(("/usr", "/bin")):
            ignored = shutil.ignore_patterns(
                "__pycache__", "test", "idlelib", "config-*", "*.a", "site-packages", "share"
            )
            target = tmp_path_factory.mktemp("base") / "python"
            shutil.copytree(prefix, target, symlinks=True, ignore=ignored)
            (target / os.path.relpath(os.path.dirname(stdlib[0]), prefix) / "site-packages").mkdir()
            return target
    missing("no self-contained Python is installed")


def tree_hash(root: Path) -> str:
    """Hash names, kinds and contents of everything below `root`."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        digest.update(os.fsencode(path.relative_to(root)) + b"\0")
        if path.is_symlink():
            digest.update(os.fsencode(os.readlink(path)))
        elif path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def run(*command: str, cwd: Path, **variables: str) -> str:
    """Run a program and return its stdout; its stderr stands in the failure."""
    dropped = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME")
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**env, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sync(project: Path, base: Path, *args: str, git: bool = False) -> Environment:
    """Make `project/.venv` with real uv, or skip if its build backend cannot be had."""
    if git:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.invalid")
        for command in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "x")):
            run("git", *command, cwd=project)
        run("git", *who, "tag", "v3.4", cwd=project)
    python = next((base / "bin").glob("python3.1[0-9]"))
    try:
        run(real_uv().path, "sync", "-q", "--python", str(python), *args, cwd=project)
    except AssertionError as error:
        if "error sending request" in str(error) or "dns error" in str(error):
            missing("PyPI is not reachable")
        raise
    return discover(str(project / ".venv"))


def resolved(
    environment: Environment, mode: EditableMode, scratch: Path
) -> tuple[Replacement, ...]:
    """Resolve with real uv."""
    scratch.mkdir(parents=True)
    found = distributions_in(environment.root, environment.site_packages)
    return resolve(environment, found, mode, str(scratch), real_uv, quiet)


def lay(replacements: tuple[Replacement, ...], target: Path) -> None:
    """Write the files of replacements where an archive would have them."""
    for replacement in replacements:
        for name, path in replacement.files:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / name)


def tried(environment: Environment, laid: Path, code: str = TRY) -> str:
    """Run `code` with the base interpreter and the laid-out site-packages, nothing else."""
    interpreter = environment.interpreter
    python = os.path.join(interpreter.prefix, interpreter.executable)
    site = str(laid / environment.site_packages)
    return run(python, "-I", "-B", "-S", "-c", textwrap.dedent(code), site, cwd=laid)


@pytest.mark.parametrize("mode", [EditableMode.BUILD, EditableMode.COPY])
@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_every_backend_becomes_real_files(
    tmp_path: Path,
    base: Path,
    backend: str,
    mode: EditableMode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What uv installed editable works from real files, with data, script and version.

    Neither the project nor the interpreter is changed by it, and nothing stays in TMPDIR.
    """
    project = write(tmp_path / "my project", project_files(backend))
    environment = sync(project, base, git=backend in DYNAMIC)
    before = tree_hash(project), tree_hash(base)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (done,) = resolved(environment, mode, tmp_path / "scratch")
    assert (tree_hash(project), tree_hash(base)) == before
    assert os.listdir(tmp_path / "tmp") == []
    version = "3.4" if backend in DYNAMIC else "1.2"
    assert (done.editable.name, done.editable.version) == ("shop", version)
    assert done.editable.form.value == ("built" if mode is EditableMode.BUILD else "copied")
    assert done.editable.note == ""
    assert done.editable.backend
    lay((done,), tmp_path / "laid")
    assert tried(environment, tmp_path / "laid") == f"{version} sold {{}}"
    assert "bin/shop" in dict(done.files)
    for name, path in done.files:
        data = Path(path).read_bytes()
        inside = name.startswith("bin/")
        assert inside or not any(os.fsencode(needle) in data for needle in done.needles), name
        assert os.path.basename(name) not in LEFT_BEHIND
        assert not name.endswith((".pth", ".pyc")), name
    site = Path(environment.root, environment.site_packages)
    left = {path.name for path in site.iterdir()} - {os.path.basename(hook) for hook in done.hooks}
    assert not {name for name in left if "shop" in name and name != done.info}


def test_the_same_source_gives_the_same_files_at_any_place(tmp_path: Path, base: Path) -> None:
    """Neither the project's path nor the scratch directory's is in what is built."""
    got = []
    for place in ("one", "another place/deeper"):
        project = write(tmp_path / place / "shop", project_files("setuptools-src"))
        environment = sync(project, base)
        (done,) = resolved(environment, EditableMode.BUILD, tmp_path / place / "scratch")
        bytes_of: dict[str, bytes] = {}
        for name, path in done.files:
            moved = Path(path).read_bytes().replace(os.fsencode(done.moves[0].old), b"")
            bytes_of[name] = moved
        got.append(bytes_of)
    assert got[0].keys() == got[1].keys()
    # uv writes a shebang with a blank another way, which is the script relocator's business
    scripts = {name for name in got[0] if name.startswith("bin/")}
    assert {n for n in got[0] if got[0][n] != got[1][n]} <= scripts


MEMBERS = {
    "pyproject.toml": """\
        [project]
        name = "root"
        version = "1.0"
        requires-python = ">=3.8"
        dependencies = ["one"]
        [tool.uv.workspace]
        members = ["packages/*"]
        [tool.uv.sources]
        one = { workspace = true }
    """,
    "README.md": "The one above\n",
    "packages/one/pyproject.toml": """\
        [project]
        name = "one"
        version = "1.0"
        requires-python = ">=3.8"
        dependencies = ["two"]
        dynamic = ["readme"]
        [tool.setuptools.dynamic]
        readme = { file = ["README.txt"] }
        [tool.uv.sources]
        two = { workspace = true }
        [build-system]
        requires = ["setuptools>=64"]
        build-backend = "setuptools.build_meta"
    """,
    "packages/one/README.txt": "One\n",
    "packages/one/src/one/__init__.py": "import two\n",
    "packages/two/pyproject.toml": """\
        [project]
        name = "two"
        version = "1.0"
        requires-python = ">=3.8"
        [tool.uv.sources]
        hooks = { workspace = true }
        [build-system]
        requires = ["hatchling", "hooks"]
        build-backend = "hatchling.build"
        [tool.hatch.build.hooks.custom]
    """,
    "packages/two/hatch_build.py": """\
        from hatchling.builders.hooks.plugin.interface import BuildHookInterface
        import hooks

        class Hook(BuildHookInterface):
            def initialize(self, version, build_data):
                hooks.run()
    """,
    "packages/two/src/two/__init__.py": "",
    "packages/hooks/pyproject.toml": """\
        [project]
        name = "hooks"
        version = "1.0"
        requires-python = ">=3.8"
        [build-system]
        requires = ["uv_build"]
        build-backend = "uv_build"
    """,
    "packages/hooks/src/hooks/__init__.py": "def run():\n    pass\n",
}


def test_workspace_members_are_built(tmp_path: Path, base: Path) -> None:
    """Sources of dependencies do not matter to a build; those of build requirements come along."""
    project = write(tmp_path / "ws", MEMBERS)
    environment = sync(project, base, "--all-packages")
    before = tree_hash(project)
    done = resolved(environment, EditableMode.BUILD, tmp_path / "scratch")
    assert tree_hash(project) == before
    assert [each.editable.name for each in done] == ["hooks", "one", "two"]
    lay(done, tmp_path / "laid")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import one, two; print('ok')"
    assert tried(environment, tmp_path / "laid", code) == "ok\n"


def test_a_broken_build_is_copied_with_uvs_reason(tmp_path: Path, base: Path) -> None:
    """AUTO copies what its backend cannot build; BUILD fails with the backend's own words."""
    project = write(tmp_path / "shop", project_files("hatchling"))
    environment = sync(project, base)
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text + "[tool.hatch.build.hooks.custom]\n")
    write(project, {"hatch_build.py": "import no_such_module\n"})
    (done,) = resolved(environment, EditableMode.AUTO, tmp_path / "auto")
    assert done.editable.form is EditableForm.COPIED
    assert "No module named 'no_such_module'" in done.editable.note
    lay((done,), tmp_path / "laid")
    assert tried(environment, tmp_path / "laid") == "1.2 sold {}"
    with pytest.raises(EditableFault, match=r"`shop` cannot be built.*no_such_module"):
        resolved(environment, EditableMode.BUILD, tmp_path / "build")


def test_another_version_and_lost_files_are_noted(tmp_path: Path, base: Path) -> None:
    """The project as it is now is packed; where that differs from the install, the note says it."""
    project = write(tmp_path / "shop", project_files("setuptools-src"))
    environment = sync(project, base)
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace('"1.2"', '"1.3"'))
    write(project, {"src/shop/late/table.csv": "1"})
    (done,) = resolved(environment, EditableMode.BUILD, tmp_path / "scratch")
    assert done.info == "shop-1.3.dist-info"
    assert done.editable.note == (
        "built as 1.3, installed as 1.2;"
        " the wheel leaves out 1 of the source's files, such as `shop/late/table.csv`"
    )


def test_data_that_only_git_names_is_built(tmp_path: Path, base: Path) -> None:
    """setuptools-scm takes package data from git; the copy has the list setuptools kept of it."""
    project = write(tmp_path / "shop", project_files("setuptools-scm"))
    environment = sync(project, base, git=True)
    (done,) = resolved(environment, EditableMode.BUILD, tmp_path / "scratch")
    assert f"{environment.site_packages}/shop/data/prices.json" in dict(done.files)


def test_a_mapped_hook_of_real_setuptools_is_understood(tmp_path: Path, base: Path) -> None:
    """On a flat layout setuptools installs a finder, whose MAPPING names the package."""
    project = write(tmp_path / "shop", project_files("setuptools-flat"))
    environment = sync(project, base)
    (found,) = distributions_in(environment.root, environment.site_packages)
    hooks = hooks_of(environment, found)
    assert dict(hooks.modules)["shop"] == str(project / "shop")
    assert not hooks.opaque


def test_an_extension_module_holds_no_path_of_the_build(tmp_path: Path, base: Path) -> None:
    """Compilers leave the temporary copy and uv's build environment out of the extension."""
    if shutil.which("cc") is None:
        missing("no C compiler is installed")
    files = project_files("setuptools-flat")
    files["setup.py"] = """\
        from setuptools import Extension, setup
        setup(ext_modules=[Extension("shop._fast", ["shop/_fast.c"])])
    """
    files["shop/_fast.c"] = """\
        #include <Python.h>
        static struct PyModuleDef m = {PyModuleDef_HEAD_INIT, "_fast", __FILE__, -1, NULL};
        PyMODINIT_FUNC PyInit__fast(void) { return PyModule_Create(&m); }
    """
    project = write(tmp_path / "shop", files)
    environment = sync(project, base)
    (done,) = resolved(environment, EditableMode.BUILD, tmp_path / "the scratch")
    (extension,) = (Path(path) for name, path in done.files if name.endswith(".so"))
    data = extension.read_bytes()
    places = (tmp_path, real_uv().cache_dir(), environment.root)
    own_base = os.fsencode(environment.interpreter.prefix)
    assert not any(os.fsencode(p) in data.replace(own_base, b"") for p in map(str, places))


def test_an_egg_link_is_built(tmp_path: Path, base: Path) -> None:
    """The wheel replaces link, easy-install line and the script that has no RECORD."""
    project = write(tmp_path / "shop", project_files("setuptools-flat"))
    environment = sync(project, base, "--no-install-project")
    write(project, {"shop.egg-info/PKG-INFO": "Name: shop\nVersion: 1.2\n"})
    root, site = Path(environment.root), environment.site_packages
    write(
        root,
        {
            f"{site}/shop.egg-link": f"{project}\n.",
            f"{site}/easy-install.pth": f"{project}\n",
            "bin/shop": "#!/x\n",
        },
    )
    (done,) = resolved(environment, EditableMode.AUTO, tmp_path / "a scratch")
    assert done.editable.form is EditableForm.BUILT
    assert done.editable.note == ""
    assert set(done.hooks) == {f"{site}/shop.egg-link", f"{site}/easy-install.pth", "bin/shop"}
    lay((done,), tmp_path / "laid")
    assert tried(environment, tmp_path / "laid") == "1.2 sold {}"


def test_uvs_cache_is_asked_before_the_network(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what `uv sync` cached, no network is needed; without both, AUTO copies."""
    project = write(tmp_path / "shop", project_files("hatchling"))
    environment = sync(project, base)
    monkeypatch.setenv("UV_OFFLINE", "1")
    (done,) = resolved(environment, EditableMode.AUTO, tmp_path / "cached")
    assert done.editable.form is EditableForm.BUILT
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    (done,) = resolved(environment, EditableMode.AUTO, tmp_path / "uncached")
    assert done.editable.form is EditableForm.COPIED
    assert "hatchling was not found in the cache" in done.editable.note
    monkeypatch.delenv("UV_OFFLINE")
    (done,) = resolved(environment, EditableMode.AUTO, tmp_path / "online")
    assert done.editable.form is EditableForm.BUILT


def test_meson_python_is_built(tmp_path: Path, base: Path) -> None:
    """meson-python's loader cannot be copied; its wheel can be installed."""
    files = {
        "pyproject.toml": """\
            [project]
            name = "shop"
            version = "1.2"
            [build-system]
            requires = ["meson-python", "ninja"]
            build-backend = "mesonpy"
        """,
        "meson.build": """\
            project('shop', version: '1.2')
            py = import('python').find_installation(pure: true)
            py.install_sources('shop/__init__.py', subdir: 'shop')
        """,
        "shop/__init__.py": "def main():\n    return 'sold'\n",
    }
    project = write(tmp_path / "shop", files)
    environment = sync(project, base)
    (done,) = resolved(environment, EditableMode.AUTO, tmp_path / "scratch")
    assert done.editable.form is EditableForm.BUILT
    assert done.editable.backend.startswith("meson")
    with pytest.raises(EditableFault, match="only be packed by building"):
        resolved(environment, EditableMode.COPY, tmp_path / "copy")
