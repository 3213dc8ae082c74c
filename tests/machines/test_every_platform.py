"""`download --platform all` of a large lock: what uv would choose, on every platform."""

import json
import shutil
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomli_w

from .lab.interpreters import uv_environment
from .lab.session import Lab
from .lab.tools import call, uv_program
from .packs import envpack

MINOR = "3.12"
PLATFORMS = (
    "x86_64-manylinux_2_28",
    "aarch64-manylinux_2_28",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
    "x86_64-pc-windows-msvc",
    "aarch64-pc-windows-msvc",
    "i686-pc-windows-msvc",
)
PROJECT = f"""\
[project]
name = "wide"
version = "1.0"
requires-python = ">={MINOR}"
dependencies = ["jupyterlab", "aiohttp", "black", "httptools", "msgpack", "sqlalchemy", "typer"]

[tool.uv]
package = false
"""


@dataclass(frozen=True)
class Wide:
    """A project of a hundred packages, its download for every platform, and what that said."""

    root: Path
    dists: Path
    lacking: dict[str, set[str]]
    environment: dict[str, str]


@pytest.fixture(scope="module")
def wide(lab: Lab, work: Path) -> Wide:
    """Lock, export and download."""
    root = work / "wide"
    root.mkdir()
    (root / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    env = uv_environment(lab.managed(MINOR).install_dir)
    call([uv_program(), "lock", "-p", MINOR], cwd=root, env=env)
    export = ["export", "-q", "--frozen", "--format", "pylock.toml", "-o", "pylock.uv.toml"]
    call([uv_program(), *export], cwd=root, env=env)
    words = ["download", "--json", "-o", "D", "--platform", "all", "--python", MINOR]
    report = json.loads(envpack(words, env=env, cwd=root))
    assert len({file["name"] for file in report["files"]}) >= 100
    assert [target.removesuffix(f", Python {MINOR}") for target in report["targets"]] == [
        *PLATFORMS
    ]
    lacking: dict[str, set[str]] = {platform: set() for platform in PLATFORMS}
    for lack in report["lacking"]:
        for target in lack["targets"]:
            lacking[target.removesuffix(f", Python {MINOR}")].add(lack["name"])
    return Wide(root, root / "D", lacking, env)


def installed(lock: Path, without: Collection[str], platform: str, wide: Wide) -> dict[str, str]:
    """Let uv install a lock for a platform; return the WHEEL file of every distribution."""
    value = tomllib.loads(lock.read_text(encoding="utf-8"))
    value["packages"] = [each for each in value["packages"] if each["name"] not in without]
    filtered = lock.with_name("pylock.filtered.toml")
    filtered.write_text(tomli_w.dumps(value), encoding="utf-8")
    target = wide.root / "T"
    words = ["pip", "sync", "-q", "--preview-features", "pylock", "--no-config"]
    words += ["--python-platform", platform, "--python-version", MINOR, "--no-build"]
    call([uv_program(), *words, "--target", str(target), str(filtered)], env=wide.environment)
    found = {path.parent.name: path.read_text() for path in target.glob("*.dist-info/WHEEL")}
    shutil.rmtree(target)
    return found


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_selection_is_uvs(wide: Wide, platform: str) -> None:
    """From the folder uv installs the very wheels that it installs from the lock itself."""
    without = wide.lacking[platform]
    own = installed(wide.dists / "pylock.toml", without, platform, wide)
    assert len(own) >= 100
    assert own == installed(wide.root / "pylock.uv.toml", without, platform, wide)


def test_what_is_lacking_has_no_wheel(wide: Wide) -> None:
    """What is said to lack a platform's wheel lacks it in the lock too, and its sdist is kept."""
    lock = tomllib.loads((wide.root / "pylock.uv.toml").read_text(encoding="utf-8"))
    wheels = {each["name"]: [w["url"] for w in each.get("wheels", ())] for each in lock["packages"]}
    for name in wide.lacking["i686-pc-windows-msvc"]:
        assert not any(
            url.endswith("win32.whl") and f"cp{MINOR[2:]}" in url for url in wheels[name]
        )
    kept = {path.name.partition("-")[0] for path in (wide.dists / "sdists").iterdir()}
    named = {name.replace("-", "_") for names in wide.lacking.values() for name in names}
    assert kept == named
